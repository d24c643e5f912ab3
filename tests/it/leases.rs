//! Leases over a real S3 protocol, by the clock in its answers and with the rights that an agent has.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kubebackup::demo::{Identity, Treatment};
use kubebackup::repository::id::RepositoryId;
use kubebackup::repository::{Acquisition, Lease, LeaseOptions, Repository};
use kubebackup::storage::{S3Credentials, S3Options, S3Store};

use crate::support::s3::BUCKET;
use crate::support::{S3, wait};

/// A repository for someone who may add to it and remove nothing, as the policy of the backup agent says.
async fn repository(s3: &S3) -> Repository {
    s3.controls.admit(Identity {
        may_write: ["repository.json", "leases/", "probes/"].map(str::to_owned).to_vec(),
        may_delete: false,
        create_only: false,
        ..Identity::full("AGENT", "secret of the agent")
    });
    let store = S3Store::open(S3Options {
        endpoint: Some(s3.endpoint.clone()),
        path_style: true,
        credentials: Some(S3Credentials {
            access_key_id: "AGENT".to_owned(),
            secret_access_key: "secret of the agent".to_owned(),
            session_token: None,
        }),
        ..S3Options::new(BUCKET)
    });
    let store = Arc::new(store.await.unwrap());
    Repository::open_or_create(store, RepositoryId::new(1)).await.unwrap()
}

async fn acquire(repository: &Repository, holder: &str, duration: Duration) -> Result<Lease, String> {
    let options = LeaseOptions {
        cluster: "production".to_owned(),
        holder: holder.to_owned(),
        duration,
    };
    match repository.acquire_lease(options).await.unwrap() {
        Acquisition::Held(lease) => Ok(lease),
        Acquisition::Busy(occupant) => Err(occupant.holder),
    }
}

const LONG: Duration = Duration::from_mins(5);

#[tokio::test]
async fn an_agent_that_may_delete_nothing_takes_renews_and_gives_back() {
    let s3 = S3::start();
    let repository = repository(&s3).await;
    let lease = acquire(&repository, "first", LONG).await.unwrap();
    assert!(!lease.is_degraded());
    assert_eq!(acquire(&repository, "second", LONG).await.unwrap_err(), "first");
    lease.renew().await.unwrap();
    lease.confirm().await.unwrap();
    assert_eq!(acquire(&repository, "second", LONG).await.unwrap_err(), "first");
    lease.release().await.unwrap();
    let second = acquire(&repository, "second", LONG).await.unwrap();
    assert_eq!(second.generation(), 3);
    assert_eq!(
        s3.keys("leases/ab8e18ef4ebebedd/"),
        ["1.json", "2.json", "2.released.json", "3.json"]
            .map(|name| format!("leases/ab8e18ef4ebebedd/0000000000000000000{name}"))
    );
}

#[tokio::test]
async fn a_lease_runs_out_by_the_clock_in_the_stores_answers() {
    let s3 = S3::start();
    let repository = repository(&s3).await;
    let lost = acquire(&repository, "first", Duration::from_secs(1)).await.unwrap();
    wait::until_async("the lease to run out", async || {
        acquire(&repository, "second", LONG).await.is_ok()
    })
    .await;
    assert!(lost.confirm().await.is_err());
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_told() {
    let s3 = S3::start();
    s3.controls.treat_if_none_match(Treatment::Ignored);
    let repository = repository(&s3).await;
    assert!(acquire(&repository, "first", LONG).await.unwrap().is_degraded());
    assert_eq!(acquire(&repository, "second", LONG).await.unwrap_err(), "first");
}

#[tokio::test]
async fn a_holder_that_died_keeps_others_out_for_an_hour_at_most_whatever_its_lease_says() {
    let s3 = S3::start();
    let repository = repository(&s3).await;
    let endless = Duration::from_secs(u64::MAX);
    drop(acquire(&repository, "first", endless).await.unwrap());
    let [lease] = &s3.keys("leases/")[..] else {
        panic!("{:?}", s3.keys("leases/"))
    };
    let date = |minutes| {
        let file = File::options().write(true).open(s3.bucket().join(lease)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_mins(minutes))
            .unwrap();
    };
    date(58);
    assert_eq!(acquire(&repository, "second", LONG).await.unwrap_err(), "first");
    date(61);
    assert_eq!(acquire(&repository, "second", LONG).await.unwrap().generation(), 2);
}
