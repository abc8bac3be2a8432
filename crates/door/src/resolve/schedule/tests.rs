use super::*;

use proptest::collection::vec;
use proptest::prelude::*;

const START: Moment = Moment::from_micros(1_000_000_000);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn silence() -> Failure {
    Failure::NoAnswer {
        reason: "silence".to_owned(),
    }
}

fn no_such_name(ttl: u64) -> Failure {
    Failure::Negative {
        ttl: Some(seconds(ttl)),
        reason: "NXDOMAIN".to_owned(),
    }
}

/// A schedule whose answer came at the start.
fn good(ttl: u64) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.found(START, seconds(ttl), true, 0.5);
    schedule
}

fn due_in(schedule: &Schedule, now: Moment) -> Duration {
    schedule.due().expect("planned").since(now)
}

#[test]
fn a_used_answer_is_refreshed_ahead_of_its_expiry() {
    for jitter in [0.0, 0.5, 0.999] {
        let mut schedule = Schedule::default();
        schedule.found(START, seconds(100), true, jitter);
        let ahead = due_in(&schedule, START);
        assert!(ahead >= seconds(80) && ahead <= seconds(90), "{ahead:?}");
    }
    let mut schedule = good(100);
    schedule.unused();
    assert_eq!(due_in(&schedule, START), seconds(100));
}

#[test]
fn silly_times_of_life_are_cut() {
    assert_eq!(due_in(&good(0), START), SHORTEST_TTL.mul_f64(0.85));
    assert_eq!(due_in(&good(1 << 31), START), LONGEST_TTL.mul_f64(0.85));
    let mut schedule = Schedule::default();
    schedule.found(START, seconds(300), false, 0.0);
    assert!(
        due_in(&schedule, START) <= INCOMPLETE_TTL,
        "the rest is asked for soon"
    );
}

#[test]
fn silence_leaves_the_last_answer_for_days_and_no_longer() {
    let mut schedule = good(10);
    assert_eq!(
        schedule.failed(START.after(seconds(9)), &silence(), 0.5),
        Standing::AsBefore
    );
    let late = START.after(seconds(11));
    assert_eq!(schedule.failed(late, &silence(), 0.5), Standing::Stale);
    let end = START.after(seconds(10)).after(STALE_FOR);
    let before = START.after(STALE_FOR);
    assert_eq!(schedule.failed(before, &silence(), 0.5), Standing::Stale);
    assert!(schedule.due().expect("planned") <= end);
    assert_eq!(schedule.failed(end, &silence(), 0.5), Standing::Gone);
    assert_eq!(schedule.failed(end, &silence(), 0.5), Standing::Gone);
}

#[test]
fn a_deleted_name_is_held_for_half_a_minute() {
    let mut schedule = good(1);
    let told = START.after(seconds(2));
    assert_eq!(
        schedule.failed(told, &no_such_name(3600), 0.5),
        Standing::Stale
    );
    assert!(
        due_in(&schedule, told) <= LONGEST_PAUSE_WHILE_HELD,
        "it may be mended soon"
    );
    // What happens meanwhile does not begin the time anew.
    let later = told.after(seconds(20));
    assert_eq!(schedule.failed(later, &silence(), 0.5), Standing::Stale);
    assert_eq!(
        schedule.failed(later, &no_such_name(1), 0.5),
        Standing::Stale
    );
    let end = told.after(HOLD_DELETED);
    assert!(schedule.due().expect("planned") <= end);
    assert_eq!(schedule.failed(end, &no_such_name(1), 0.5), Standing::Gone);
    // A server that then falls silent does not bring it back.
    assert_eq!(schedule.failed(end, &silence(), 0.5), Standing::Gone);
}

#[test]
fn a_deleted_name_lives_out_its_time_of_life() {
    let mut schedule = good(3600);
    let told = START.after(seconds(60));
    assert_eq!(
        schedule.failed(told, &no_such_name(1), 0.5),
        Standing::AsBefore
    );
    let later = told.after(HOLD_DELETED);
    assert_eq!(
        schedule.failed(later, &no_such_name(1), 0.5),
        Standing::AsBefore
    );
    let end = START.after(seconds(3600));
    assert_eq!(schedule.failed(end, &no_such_name(1), 0.5), Standing::Gone);
}

#[test]
fn pauses_grow_while_nobody_answers() {
    let mut schedule = Schedule::default();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert_eq!(schedule.failed(START, &silence(), 1.0), Standing::Gone);
        pauses.push(due_in(&schedule, START).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn a_negative_answer_is_believed_as_long_as_it_says_within_bounds() {
    for (ttl, expected) in [(0, 1), (7, 7), (86_400, 30)] {
        let mut schedule = Schedule::default();
        schedule.failed(START, &no_such_name(ttl), 1.0);
        assert_eq!(due_in(&schedule, START), seconds(expected));
    }
}

#[test]
fn an_expired_answer_waits_for_a_new_one_no_longer_than_patience() {
    let mut schedule = good(10);
    schedule.ask(START);
    assert_eq!(due_in(&schedule, START), seconds(10));
    let late = START.after(seconds(60));
    schedule.ask(late);
    assert_eq!(due_in(&schedule, late), PATIENCE);
    let mut nothing = Schedule::default();
    nothing.ask(START);
    assert_eq!(nothing.due(), None, "nothing to serve in its place");
}

const PHASES: [Phase; 5] = [
    Phase::Asking,
    Phase::Fresh,
    Phase::Ageing,
    Phase::Failing,
    Phase::Asleep,
];
const EVENTS: [Event; 6] = [
    Event::Found,
    Event::Failed,
    Event::DueUsed,
    Event::DueUnused,
    Event::Wanted,
    Event::Changed,
];

#[test]
fn a_question_begins_and_ends_where_the_phase_says_so() {
    for phase in PHASES {
        for event in EVENTS {
            let (next, action) = table(phase, event);
            assert_eq!(
                action == Action::Ask,
                phase != Phase::Asking && next == Phase::Asking
            );
            assert_eq!(
                action == Action::Sleep,
                phase != Phase::Asleep && next == Phase::Asleep
            );
            let ended = phase == Phase::Asking && next != Phase::Asking;
            assert_eq!(
                ended,
                matches!(action, Action::PlanRefresh | Action::PlanRetry)
            );
        }
    }
}

#[test]
fn an_unused_name_falls_asleep_from_everywhere() {
    for phase in PHASES {
        let mut phase = match phase {
            Phase::Asking => table(phase, Event::Failed).0,
            phase => phase,
        };
        for _ in 0..2 {
            phase = table(phase, Event::DueUnused).0;
        }
        assert_eq!(phase, Phase::Asleep);
    }
}

proptest! {
    /// Whatever servers answer: there is always a next look, neither at once nor ever later
    /// than the longest time of life, and nothing old is served beyond its bound.
    #[test]
    fn no_answers_make_it_spin_or_stop(
        outcomes in vec((0..3_u8, 0..=u64::from(u32::MAX), 0.0..1.0_f64, 0..600_u64), 1..60)
    ) {
        let mut schedule = Schedule::default();
        let mut now = START;
        let mut last_good = None;
        for (kind, ttl, jitter, late) in outcomes {
            match kind {
                0 => {
                    schedule.found(now, seconds(ttl), true, jitter);
                    last_good = Some(now);
                }
                kind => {
                    let failure = if kind == 1 { silence() } else { no_such_name(ttl) };
                    let standing = schedule.failed(now, &failure, jitter);
                    if standing != Standing::Gone {
                        let good = last_good.expect("an answer to serve");
                        prop_assert!(now.since(good) <= LONGEST_TTL + STALE_FOR);
                    } else {
                        last_good = None;
                    }
                }
            }
            let due = due_in(&schedule, now);
            prop_assert!(due <= LONGEST_TTL, "{due:?}");
            prop_assert!(due > Duration::ZERO, "{due:?}");
            now = now.after(due + seconds(late));
        }
    }
}
