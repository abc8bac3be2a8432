//! How bulk leaves a Unix socket: by copying, or by splicing through a pipe.
//!
//! Copying pays for the bytes, splicing for the pages; which one costs less depends on the
//! processor and its memory. On one machine splicing took a twentieth more processor time, on
//! another one a quarter less. So a worker measures both, splices where that was clearly cheaper
//! of late, and tries the other way now and then.

/// The way of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the worker's buffer.
    Copy,
    /// Through a pipe.
    Splice,
}

/// So few bytes say nothing of their cost.
const LEAST: u64 = 64 * 1024;

/// One burst in this many goes the other way.
const TRIAL: u32 = 64;

/// The newest measurement counts for one part in this many.
const MEMORY: u64 = 8;

/// What a worker knows of both ways.
#[derive(Debug, Default)]
pub struct Costs {
    copy: Option<u64>,
    splice: Option<u64>,
    turn: u32,
}

impl Costs {
    /// The way of the next burst.
    pub fn choose(&mut self) -> Way {
        let (better, other) = match (self.copy, self.splice) {
            (None, _) => return Way::Copy,
            (_, None) => return Way::Splice,
            // By a tenth: what is measured varies, and copying needs no pipe.
            (Some(copy), Some(splice)) if splice < copy - copy / 10 => (Way::Splice, Way::Copy),
            _ => (Way::Copy, Way::Splice),
        };
        self.turn = (self.turn + 1) % TRIAL;
        if self.turn == 0 { other } else { better }
    }

    /// That so many bytes took so many nanoseconds of processor time on that way: all the
    /// time that they took, and no other's.
    pub fn note(&mut self, way: Way, bytes: u64, nanoseconds: u64) {
        if bytes < LEAST {
            return;
        }
        // Nanoseconds for a MiB.
        let new = nanoseconds.saturating_mul(1 << 20) / bytes;
        let known = match way {
            Way::Copy => &mut self.copy,
            Way::Splice => &mut self.splice,
        };
        *known = Some(known.map_or(new, |old| (old * (MEMORY - 1) + new) / MEMORY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Bursts of a MiB each, and how many of them were spliced.
    fn play(costs: &mut Costs, bursts: u32, copying: u64, splicing: u64) -> u32 {
        let mut spliced = 0;
        for _ in 0..bursts {
            let way = costs.choose();
            let cost = if way == Way::Copy { copying } else { splicing };
            costs.note(way, MIB, cost);
            spliced += u32::from(way == Way::Splice);
        }
        spliced
    }

    #[test]
    fn what_costs_less_is_taken_and_the_other_tried() {
        assert!(play(&mut Costs::default(), 640, 300_000, 200_000) >= 620);
        assert!((1..=20).contains(&play(&mut Costs::default(), 640, 200_000, 300_000)));
    }

    #[test]
    fn it_is_found_out_when_that_changes() {
        let mut costs = Costs::default();
        play(&mut costs, 640, 200_000, 300_000);
        play(&mut costs, 6400, 400_000, 300_000);
        assert!(play(&mut costs, 640, 400_000, 300_000) >= 620);
    }

    #[test]
    fn little_says_nothing() {
        let mut costs = Costs::default();
        costs.note(Way::Copy, LEAST - 1, 1);
        assert_eq!(costs.choose(), Way::Copy);
        assert_eq!((costs.copy, costs.splice), (None, None));
    }

    #[test]
    fn no_number_is_too_large() {
        let mut costs = Costs::default();
        for way in [Way::Copy, Way::Splice, Way::Splice] {
            costs.note(way, LEAST, u64::MAX);
        }
        costs.choose();
    }
}
