//! The task of one name: does what [`schedule`](super::schedule) says.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use tokio::sync::{Notify, Semaphore, watch};

use crate::clock::Moment;

use super::endpoint::Endpoint;
use super::lookup::{Asker, Found};
use super::schedule::{Action, Event, Failure, Phase, Schedule, Standing, table};
use super::{Address, Query, State};

/// What all tasks share.
pub struct Shared {
    /// Questions under way at once.
    pub questions: Semaphore,
    /// Takes one line for a person.
    pub report: super::Report,
}

type Outcome = Result<Found, Failure>;
type Question = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What a person was told last, so that each change is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Well,
    Stale,
    Failed,
}

struct Task {
    query: Query,
    endpoint: Weak<Endpoint>,
    shared: Arc<Shared>,
    phase: Phase,
    schedule: Schedule,
    question: Option<Question>,
    again: bool,
    /// The last good addresses; empty where there are none to serve.
    good: Vec<Address>,
    told: Told,
}

/// Keeps a name's answers for as long as its endpoint lives.
pub async fn run(
    endpoint: Weak<Endpoint>,
    query: Query,
    signal: Arc<Notify>,
    shared: Arc<Shared>,
    mut asker: watch::Receiver<Arc<Asker>>,
) {
    let mut task = Task {
        query,
        endpoint,
        shared,
        phase: Phase::Asking,
        schedule: Schedule::default(),
        question: None,
        again: false,
        good: Vec::new(),
        told: Told::Well,
    };
    let current = Arc::clone(&asker.borrow_and_update());
    task.ask(&current);
    loop {
        let due = task.schedule.due();
        let (event, outcome) = tokio::select! {
            outcome = answered(&mut task.question) => (Event::of(&outcome), Some(outcome)),
            () = sleep_until(due) => (Event::DueUsed, None),
            () = signal.notified() => (Event::Wanted, None),
            changed = asker.changed() => match changed {
                Ok(()) => (Event::Changed, None),
                // The thread is about to end.
                Err(_) => return,
            },
        };
        let Some(endpoint) = task.endpoint.upgrade() else {
            return;
        };
        let event = match event {
            Event::DueUsed if !endpoint.take_used() => Event::DueUnused,
            event => event,
        };
        let current = Arc::clone(&asker.borrow_and_update());
        task.handle(&endpoint, event, outcome, &current);
    }
}

async fn answered(question: &mut Option<Question>) -> Outcome {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(moment: Option<Moment>) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.since(Moment::now())).await,
        None => std::future::pending().await,
    }
}

impl Event {
    const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(_) => Self::Found,
            Err(_) => Self::Failed,
        }
    }
}

impl Task {
    fn handle(
        &mut self,
        endpoint: &Endpoint,
        event: Event,
        outcome: Option<Outcome>,
        asker: &Arc<Asker>,
    ) {
        if outcome.is_some() {
            self.question = None;
        }
        let action;
        (self.phase, action) = table(self.phase, event);
        match action {
            Action::Nothing => {}
            Action::Ask => self.ask(asker),
            Action::AskAgain => self.again = true,
            Action::PlanRefresh => {
                if let Some(Ok(found)) = outcome {
                    self.found(endpoint, found);
                }
            }
            Action::PlanRetry => {
                if let Some(Err(failure)) = outcome {
                    self.failed(endpoint, &failure);
                }
            }
            Action::PlanExpiry => self.schedule.unused(),
            Action::Impatient => {
                self.schedule.sleep();
                self.serve_stale(endpoint, "a new one is late");
            }
            Action::Sleep => {
                self.schedule.sleep();
                endpoint.publish(self.good.clone(), State::Pending);
                // A connection may have come between the look and the answer, and does not
                // call for what it saw as answered.
                if endpoint.take_used() {
                    self.phase = table(self.phase, Event::Wanted).0;
                    self.ask(asker);
                }
            }
        }
        if self.again && self.question.is_none() {
            self.again = false;
            self.phase = table(self.phase, Event::Changed).0;
            self.ask(asker);
        }
    }

    fn ask(&mut self, asker: &Arc<Asker>) {
        self.schedule.ask(Moment::now());
        let (shared, query) = (Arc::clone(&self.shared), self.query.clone());
        let (asker, hurry) = (Arc::clone(asker), self.good.is_empty());
        self.question = Some(Box::pin(async move {
            // Never closed.
            let _permit = shared.questions.acquire().await;
            asker.ask(query, hurry).await
        }));
    }

    fn found(&mut self, endpoint: &Endpoint, found: Found) {
        self.schedule
            .found(Moment::now(), found.ttl, found.complete, jitter());
        let mut addresses = found.addresses;
        if !found.complete && matches!(self.query, Query::Host { .. }) {
            // A family that has not answered is still where it was.
            let answered = addresses[0].socket.is_ipv6();
            let other = |address: &&Address| address.socket.is_ipv6() != answered;
            addresses.extend(self.good.iter().filter(other));
        }
        self.good.clone_from(&addresses);
        endpoint.publish(addresses, State::Fresh);
        self.tell(Told::Well, "");
    }

    fn failed(&mut self, endpoint: &Endpoint, failure: &Failure) {
        match self.schedule.failed(Moment::now(), failure, jitter()) {
            Standing::AsBefore => {}
            Standing::Stale => self.serve_stale(endpoint, failure.reason()),
            Standing::Gone => {
                self.good = Vec::new();
                endpoint.publish(Vec::new(), State::Failed(failure.reason().into()));
                self.tell(Told::Failed, failure.reason());
            }
        }
    }

    fn serve_stale(&mut self, endpoint: &Endpoint, reason: &str) {
        endpoint.publish(self.good.clone(), State::Stale(reason.into()));
        self.tell(Told::Stale, reason);
    }

    /// Once for each change.
    fn tell(&mut self, told: Told, reason: &str) {
        let before = std::mem::replace(&mut self.told, told);
        if before == told {
            return;
        }
        let query = &self.query;
        (self.shared.report)(&match told {
            Told::Well => format!("{query} resolves again"),
            Told::Stale => format!("{query}: the last good answer is served: {reason}"),
            Told::Failed => format!("{query} does not resolve: {reason}; asking again"),
        });
    }
}

/// In 0..1, another one each time; no secret.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}
