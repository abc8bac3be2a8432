use super::*;
use Action::{
    Cut, Drain, Exit, Kill, Retire, SayKept, SayReady, SayReloading, SayRestart, SayStopping, Start,
};

/// Generations that are told one thing after the other, a millisecond apart.
#[derive(Default)]
struct Story {
    generations: Generations,
    now: u64,
}

impl Story {
    /// One door accepts.
    fn serving() -> Self {
        let mut story = Self::default();
        story.tell(Event::Started(1), &[]);
        story.tell(Event::Ready(1), &[SayReady(1)]);
        story
    }

    fn tell(&mut self, event: Event, expected: &[Action]) {
        self.now += 1000;
        let now = Moment::from_micros(self.now);
        assert_eq!(self.generations.happen(now, event), expected, "{event:?}");
    }

    /// Lets the next due moment come.
    fn wait(&mut self, expected: &[Action]) -> Duration {
        let begun = Moment::from_micros(self.now);
        let next = self.generations.next().expect("something is due");
        self.now += u64::try_from(next.since(begun).as_micros()).expect("short");
        self.tell(Event::Time, expected);
        next.since(begun)
    }
}

#[test]
fn the_next_accepts_before_the_one_before_drains() {
    let mut story = Story::serving();
    assert_eq!(
        story.generations.next(),
        None,
        "nothing wakes an idle keeper"
    );
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(2), &[]);
    assert!(story.generations.accepts(1) && !story.generations.accepts(2));
    story.tell(Event::Ready(2), &[SayReady(2), Retire(1)]);
    assert!(story.generations.accepts(2) && !story.generations.accepts(1));
    story.tell(Event::Ready(2), &[]);
    story.tell(Event::Ended(1, true), &[]);
    story.tell(Event::Ended(9, false), &[]);
    assert_eq!(story.generations.next(), None);
}

#[test]
fn a_failed_replacement_leaves_the_old_door() {
    let mut story = Story::serving();
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Ended(2, false), &[SayKept(1)]);
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::NotStarted, &[SayKept(1)]);
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(3), &[]);
    assert_eq!(story.wait(&[Kill(3)]), START);
    assert_eq!(story.generations.next(), None, "it is killed once");
    story.tell(Event::Ended(3, false), &[SayKept(1)]);
    assert!(story.generations.accepts(1));
}

#[test]
fn an_accepting_door_that_falls_silent_is_replaced() {
    let silence = Duration::from_secs(1);
    let mut story = Story {
        generations: Generations::new(Some(silence)),
        now: 0,
    };
    story.tell(Event::Started(1), &[]);
    story.tell(Event::Ready(1), &[SayReady(1)]);
    story.now += 900_000;
    story.tell(Event::Alive(1), &[]);
    assert_eq!(story.wait(&[Kill(1)]), silence);
    story.tell(Event::Alive(1), &[]);
    story.tell(Event::Ended(1, false), &[SayRestart(Duration::ZERO)]);
    story.wait(&[Start]);
    // One that drains may be silent: nobody waits for it.
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Ready(2), &[SayReady(2)]);
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(3), &[]);
    story.tell(Event::Ready(3), &[SayReady(3), Retire(2)]);
    story.wait(&[Kill(3)]);
}

#[test]
fn a_second_wish_waits_for_the_first() {
    let mut story = Story::serving();
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Replace, &[]);
    story.tell(Event::Replace, &[]);
    story.tell(
        Event::Ready(2),
        &[SayReady(2), Retire(1), SayReloading, Start],
    );
    story.tell(Event::Started(3), &[]);
    story.tell(Event::Ready(3), &[SayReady(3), Retire(2)]);
}

#[test]
fn a_dead_door_is_followed_with_growing_pauses() {
    let mut story = Story::serving();
    let mut pauses = Vec::new();
    for process in 1..10 {
        let pause =
            Duration::from_millis([0, 100, 200, 400, 800, 1600, 3200, 5000, 5000][process - 1]);
        let process = u32::try_from(process).expect("small");
        story.tell(Event::Ended(process, false), &[SayRestart(pause)]);
        pauses.push(story.wait(&[Start]));
        story.tell(Event::Started(process + 1), &[]);
        story.tell(Event::Ready(process + 1), &[SayReady(process + 1)]);
    }
    assert_eq!(pauses[1], Duration::from_millis(100));
    // One that accepted for long begins anew.
    story.now += 11_000_000;
    story.tell(Event::Ended(10, false), &[SayRestart(Duration::ZERO)]);
    // A person does not wait for the pause.
    story.tell(Event::Replace, &[SayReloading, Start]);
    assert_eq!(story.generations.next(), None);
}

#[test]
fn a_start_that_fails_after_a_death_is_tried_again() {
    let mut story = Story::serving();
    story.tell(Event::Ended(1, false), &[SayRestart(Duration::ZERO)]);
    story.wait(&[Start]);
    let pause = Duration::from_millis(100);
    story.tell(Event::NotStarted, &[SayRestart(pause)]);
    story.wait(&[Start]);
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Ended(2, true), &[SayRestart(pause * 2)]);
}

#[test]
fn a_death_during_a_replacement_is_the_replacements_affair() {
    let mut story = Story::serving();
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Ended(1, false), &[]);
    story.tell(Event::Ended(2, false), &[SayRestart(Duration::ZERO)]);
}

#[test]
fn a_first_door_that_fails_ends_the_keeper() {
    let mut story = Story::default();
    story.tell(Event::Started(1), &[]);
    story.tell(Event::Ended(1, false), &[Exit(false)]);
    Story::default().tell(Event::NotStarted, &[Exit(false)]);
}

#[test]
fn a_door_that_ends_well_by_itself_ends_the_keeper_well() {
    let mut story = Story::serving();
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Ready(2), &[SayReady(2), Retire(1)]);
    // Not while another one drains: nobody would accept until that one ends.
    story.tell(Event::Ended(2, true), &[SayRestart(Duration::ZERO)]);
    story.wait(&[Start]);
    story.tell(Event::Started(3), &[]);
    story.tell(Event::Ready(3), &[SayReady(3)]);
    story.tell(Event::Ended(1, true), &[]);
    story.tell(Event::Ended(3, true), &[Exit(true)]);
}

#[test]
fn a_stop_drains_all_and_a_cut_ends_them() {
    let mut story = Story::serving();
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Stop, &[SayStopping, Drain(1), Drain(2)]);
    story.tell(Event::Stop, &[]);
    story.tell(Event::Replace, &[]);
    story.tell(Event::Ready(2), &[]);
    story.tell(Event::Cut, &[Cut(1), Cut(2)]);
    story.tell(Event::Ended(1, true), &[]);
    story.tell(Event::Ended(2, false), &[Exit(true)]);
    let mut story = Story::serving();
    story.tell(Event::Cut, &[SayStopping, Drain(1), Cut(1)]);
    let mut story = Story::serving();
    story.tell(Event::Replace, &[SayReloading, Start]);
    story.tell(Event::Started(2), &[]);
    story.tell(Event::Ready(2), &[SayReady(2), Retire(1)]);
    // Whoever retired without a deadline gets one.
    story.tell(Event::Stop, &[SayStopping, Drain(1), Drain(2)]);
}

#[test]
fn old_doors_are_bounded() {
    let mut story = Story::serving();
    for process in 2..=20 {
        story.tell(Event::Replace, &[SayReloading, Start]);
        story.tell(Event::Started(process), &[]);
        let mut expected = vec![SayReady(process), Retire(process - 1)];
        if process > 9 {
            expected.push(Cut(process - 9));
        }
        story.tell(Event::Ready(process), &expected);
        if process > 9 {
            story.tell(Event::Ended(process - 9, true), &[]);
        }
        assert!(story.generations.draining() <= DRAINING);
    }
}
