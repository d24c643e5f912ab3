//! Credentials that may be replaced under a running program: the default chain, asked again and again.
//!
//! The SDK's chain reads the AWS files once and keeps what they said for ever. So the whole chain is built anew: every
//! minute for credentials that tell no end, in good time before the end of those that do, and at once when the store
//! refuses what it gave last. Where the chain has nothing new, what it gave before is good until its end.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

/// How long credentials that tell no end are trusted without another look at their source.
const TRUSTED: Duration = Duration::from_mins(1);

/// So long before their end others are wanted, or half of their life where that is less.
const IN_GOOD_TIME: Duration = Duration::from_mins(5);

/// The pause after a look that failed while there are still some that work.
const NEXT_TRY: Duration = Duration::from_secs(10);

/// Longest wait for whoever gives credentials out; the SDK sets no limit to a chain of our own.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<Credentials, CredentialsError>;

/// Asks the chain, from its first link on.
type Ask = Box<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>;

/// The handle. Clones share what was found.
#[derive(Clone)]
pub(super) struct FreshCredentials(Arc<State>);

struct State {
    ask: Ask,
    patience: Duration,
    look: Mutex<Arc<Look>>,
    /// Counts the different credentials that were found.
    version: AtomicU64,
}

/// One look at the chain: the first who needs it does it, and the others wait for it.
#[derive(Default)]
struct Look {
    found: OnceCell<Found>,
    before: Option<Credentials>,
}

#[derive(Clone)]
struct Found {
    credentials: Credentials,
    begun: Instant,
    good_until: Instant,
}

impl fmt::Debug for FreshCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FreshCredentials").finish_non_exhaustive()
    }
}

impl FreshCredentials {
    pub(super) fn new<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::with_patience(PATIENCE, ask)
    }

    fn with_patience<F>(patience: Duration, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self(Arc::new(State {
            ask: Box::new(move || Box::pin(ask())),
            patience,
            look: Mutex::default(),
            version: AtomicU64::new(0),
        }))
    }

    /// Changes whenever others are found.
    pub(super) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Relaxed)
    }

    /// Looks again, since the store has refused what was in use at `used`. Whether there are others now.
    pub(super) async fn have_changed_since(&self, used: &Used) -> bool {
        self.look_again_if(|found| found.begun <= used.at);
        // Nothing to be had is no change; the refusal tells more than this error.
        self.get().await.is_ok() && self.version() != used.version
    }

    /// Marks what a request that is made now will use.
    pub(super) async fn used(&self) -> Used {
        // The first look is no change; whether it fails the request will tell.
        let _ = self.get().await;
        Used {
            version: self.version(),
            at: Instant::now(),
        }
    }

    async fn get(&self) -> Answer {
        let now = Instant::now();
        self.look_again_if(|found| found.good_until <= now);
        let look = Arc::clone(&self.lock());
        let found = look.found.get_or_try_init(|| self.find(look.before.as_ref())).await?;
        Ok(found.credentials.clone())
    }

    fn look_again_if(&self, is_outdated: impl Fn(&Found) -> bool) {
        let mut look = self.lock();
        if let Some(found) = look.found.get().filter(|found| is_outdated(found)) {
            *look = Arc::new(Look {
                before: Some(found.credentials.clone()),
                found: OnceCell::new(),
            });
        }
    }

    async fn find(&self, before: Option<&Credentials>) -> Result<Found, CredentialsError> {
        let begun = Instant::now();
        let patience = self.0.patience;
        let asked = tokio::time::timeout(patience, (self.0.ask)()).await;
        let asked = asked.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(patience)));
        let (credentials, good_for) = match (asked, before) {
            (Ok(credentials), _) => {
                let good_for = good_for(credentials.expiry(), SystemTime::now());
                (credentials, good_for)
            }
            (Err(error), Some(before)) if !is_over(before) => {
                tracing::warn!(%error, "the store's credentials cannot be read again; those at hand are still in use");
                (before.clone(), NEXT_TRY)
            }
            (Err(error), _) => return Err(error),
        };
        if before != Some(&credentials) {
            self.0.version.fetch_add(1, Ordering::Relaxed);
        }
        if before.is_some_and(|before| before.access_key_id() != credentials.access_key_id()) {
            tracing::info!("the store's credentials have been replaced");
        }
        Ok(Found {
            credentials,
            begun,
            good_until: begun + good_for,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Look>> {
        // One assignment: a panic elsewhere leaves nothing half done.
        self.0.look.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was in use when a request was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    version: u64,
    at: Instant,
}

impl ProvideCredentials for FreshCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

fn is_over(credentials: &Credentials) -> bool {
    credentials.expiry().is_some_and(|end| end <= SystemTime::now())
}

/// How long they are used before the chain is asked again.
fn good_for(end: Option<SystemTime>, now: SystemTime) -> Duration {
    let Some(end) = end else { return TRUSTED };
    let left = end.duration_since(now).unwrap_or_default();
    left.saturating_sub(IN_GOOD_TIME).max(left / 2).max(NEXT_TRY.min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str, end: Option<SystemTime>) -> Credentials {
        Credentials::new(name, "secret", None, end, "test")
    }

    /// A chain that gives what is in the slot, and how often it was asked.
    fn chain(slot: &Arc<Mutex<Option<Credentials>>>) -> (FreshCredentials, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let (slot, count) = (Arc::clone(slot), Arc::clone(&asked));
        let fresh = FreshCredentials::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let found = slot.lock().unwrap().clone();
            async move { found.ok_or_else(|| CredentialsError::not_loaded("nothing there")) }
        });
        (fresh, asked)
    }

    async fn name(fresh: &FreshCredentials) -> String {
        fresh.provide_credentials().await.unwrap().access_key_id().to_owned()
    }

    fn let_them_age(fresh: &FreshCredentials) {
        fresh.look_again_if(|_| true);
    }

    #[tokio::test]
    async fn many_who_need_credentials_at_once_ask_once() {
        let slot = Arc::new(Mutex::new(Some(credentials("first", None))));
        let (fresh, asked) = chain(&slot);
        let names = futures_util::future::join_all((0..10).map(|_| name(&fresh))).await;
        assert!(names.iter().all(|name| name == "first"));
        assert_eq!((asked.load(Ordering::Relaxed), fresh.version()), (1, 1));
        let used = fresh.used().await;
        let refused = (0..10).map(|_| fresh.have_changed_since(&used));
        let changed = futures_util::future::join_all(refused).await;
        assert_eq!(changed, [false; 10], "the same again is no change");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn replaced_ones_are_found_after_a_refusal() {
        let slot = Arc::new(Mutex::new(Some(credentials("first", None))));
        let (fresh, _) = chain(&slot);
        assert_eq!(name(&fresh).await, "first");
        let used = fresh.used().await;
        *slot.lock().unwrap() = Some(credentials("second", None));
        assert_eq!(name(&fresh).await, "first", "trusted for a while");
        assert!(fresh.have_changed_since(&used).await);
        assert_eq!(name(&fresh).await, "second");
        assert!(fresh.have_changed_since(&used).await, "for whoever comes late, too");
    }

    #[tokio::test]
    async fn those_at_hand_are_used_to_their_end_when_their_source_is_gone() {
        let slot = Arc::new(Mutex::new(Some(credentials("endless", None))));
        let (fresh, _) = chain(&slot);
        assert_eq!(name(&fresh).await, "endless");
        *slot.lock().unwrap() = None;
        let_them_age(&fresh);
        assert_eq!(name(&fresh).await, "endless");
        assert!(!fresh.have_changed_since(&fresh.used().await).await);

        *slot.lock().unwrap() = Some(credentials("over", Some(SystemTime::now())));
        let_them_age(&fresh);
        assert_eq!(name(&fresh).await, "over");
        *slot.lock().unwrap() = None;
        let_them_age(&fresh);
        let error = fresh.provide_credentials().await.unwrap_err();
        assert!(matches!(error, CredentialsError::CredentialsNotLoaded(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_program_that_never_answers_is_given_up_and_those_at_hand_stay_in_use() {
        assert_eq!(FreshCredentials::new(std::future::pending).0.patience.as_secs(), 30);
        let answers = Arc::new(AtomicU64::new(0));
        let patience = Duration::from_millis(50);
        let ask = {
            let answers = Arc::clone(&answers);
            move || {
                let answers = answers.load(Ordering::Relaxed) > 0;
                async move {
                    if !answers {
                        let mut never = tokio::process::Command::new("sleep");
                        let ended = never.arg("infinity").kill_on_drop(true).status().await;
                        return Err(CredentialsError::not_loaded(format!("{ended:?}")));
                    }
                    Ok(credentials("first", None))
                }
            }
        };
        let fresh = FreshCredentials::with_patience(patience, ask);
        let error = fresh.provide_credentials().await.unwrap_err();
        assert!(matches!(error, CredentialsError::ProviderTimedOut(_)), "{error:?}");

        answers.store(1, Ordering::Relaxed);
        assert_eq!(name(&fresh).await, "first", "a look that failed is no last word");
        answers.store(0, Ordering::Relaxed);
        let_them_age(&fresh);
        assert_eq!(name(&fresh).await, "first");
    }

    #[test]
    fn the_next_look_comes_in_good_time() {
        let now = SystemTime::now();
        let seconds = |left: u64| good_for(Some(now + Duration::from_secs(left)), now).as_secs();
        assert_eq!(good_for(None, now), TRUSTED);
        assert_eq!((seconds(3600), seconds(900), seconds(600)), (3300, 600, 300));
        assert_eq!((seconds(60), seconds(12), seconds(4), seconds(0)), (30, 10, 4, 0));
    }

    #[test]
    fn nothing_of_them_is_shown() {
        let (fresh, _) = chain(&Arc::default());
        assert_eq!(format!("{fresh:?}"), "FreshCredentials { .. }");
    }
}
