//! Leases over a store whose clock is set by hand: who gets one, who loses it, and what a backup makes of it.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::repository::testing::{Ground, draft, put_all, two_tables};
use crate::storage::MemoryStore;
use crate::storage::faults::{Effect, Fault, FaultStore, Operation};

const DURATION: Duration = Duration::from_mins(1);

fn options(holder: &str) -> LeaseOptions {
    LeaseOptions {
        cluster: "shop".to_owned(),
        holder: holder.to_owned(),
        duration: DURATION,
    }
}

async fn acquire(repository: &Repository, holder: &str) -> Acquisition {
    repository.acquire_lease(options(holder)).await.unwrap()
}

async fn held(repository: &Repository, holder: &str) -> Lease {
    match acquire(repository, holder).await {
        Acquisition::Held(lease) => lease,
        Acquisition::Busy(occupant) => panic!("{occupant:?}"),
    }
}

async fn busy(repository: &Repository, holder: &str) -> Occupant {
    match acquire(repository, holder).await {
        Acquisition::Busy(occupant) => occupant,
        Acquisition::Held(lease) => panic!("{lease:?}"),
    }
}

#[track_caller]
fn assert_lost(result: Result<()>, to: &str) {
    match result {
        Err(Error::LeaseLost { occupant }) => assert_eq!(occupant.holder, to),
        other => panic!("{other:?}"),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000_000 + second).unwrap()
}

/// The clock of this ground's store stands at second 0, decades before this machine's.
async fn ground() -> Ground {
    let ground = Ground::new().await;
    ground.store.set_clock(at(0));
    ground
}

async fn generations(ground: &Ground) -> Vec<String> {
    let directory = layout::leases_of(&LeaseScope::of("shop"));
    let objects = list_all(ground.store.as_ref(), &directory, None).await.unwrap();
    let name = |key: &str| key.rsplit('/').next().unwrap().trim_start_matches('0').to_owned();
    objects.iter().map(|object| name(&object.key)).collect()
}

#[tokio::test]
async fn of_several_who_ask_at_once_one_gets_the_lease() {
    let ground = ground().await;
    // All have seen that it is free before the first takes it.
    let together = Effect::Slow(Duration::from_millis(20));
    let repository = ground
        .with_faults(vec![Fault::first(Operation::List, layout::LEASES, together).always()])
        .await;
    let asked = (0..8).map(|number| {
        let repository = repository.clone();
        async move { acquire(&repository, &format!("agent {number}")).await }
    });
    let got = futures_util::future::join_all(asked).await;
    let held = got.iter().filter(|got| matches!(got, Acquisition::Held(_))).count();
    assert_eq!(held, 1, "{got:?}");
    assert_eq!(generations(&ground).await, ["1.json"]);
}

#[tokio::test]
async fn a_lease_ends_with_its_duration_by_the_stores_clock_whatever_ours_says() {
    let ground = ground().await;
    let first = held(&ground.repository, "first").await;
    ground.store.set_clock(at(59));
    let occupant = busy(&ground.repository, "second").await;
    assert_eq!(
        occupant,
        Occupant {
            holder: "first".to_owned(),
            generation: 1,
            expires: at(60),
            is_degraded: false,
        }
    );
    first.confirm().await.unwrap();
    ground.store.set_clock(at(60));
    let second = held(&ground.repository, "second").await;
    assert_eq!((first.generation(), second.generation()), (1, 2));
    assert_lost(first.confirm().await, "second");
    assert_lost(first.renew().await, "second");
    second.confirm().await.unwrap();
}

#[tokio::test]
async fn a_renewed_lease_lasts_from_then_on() {
    let ground = ground().await;
    let first = held(&ground.repository, "first").await;
    ground.store.set_clock(at(50));
    first.renew().await.unwrap();
    assert_eq!(first.generation(), 2);
    assert_eq!(generations(&ground).await, ["2.json"], "what is outdated is removed");
    ground.store.set_clock(at(100));
    assert_eq!(busy(&ground.repository, "second").await.expires, at(110));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_still_held_while_nobody_wants_it() {
    let ground = ground().await;
    let first = held(&ground.repository, "first").await;
    ground.store.set_clock(at(600));
    first.confirm().await.unwrap();
    first.renew().await.unwrap();
    assert_eq!(busy(&ground.repository, "second").await.holder, "first");
}

#[tokio::test]
async fn a_holder_that_paused_notices_though_its_next_generation_is_free_again() {
    let ground = ground().await;
    let paused = held(&ground.repository, "paused").await;
    ground.store.set_clock(at(60));
    let second = held(&ground.repository, "second").await;
    second.renew().await.unwrap();
    assert_eq!(
        generations(&ground).await,
        ["3.json"],
        "generation 2 can be created once more"
    );
    assert_lost(paused.renew().await, "second");
    second.renew().await.unwrap();
}

#[tokio::test]
async fn a_released_lease_is_free_at_once_and_leaves_little_behind() {
    let ground = ground().await;
    held(&ground.repository, "first").await.release().await.unwrap();
    assert_eq!(generations(&ground).await, ["1.json", "1.released.json"]);
    let second = held(&ground.repository, "second").await;
    assert_eq!(second.generation(), 2);
    assert_eq!(generations(&ground).await, ["2.json"]);
}

#[tokio::test]
async fn each_cluster_has_a_lease_of_its_own() {
    let ground = ground().await;
    held(&ground.repository, "first").await;
    let other = LeaseOptions {
        cluster: "another/cluster ü".to_owned(),
        ..options("second")
    };
    let acquired = ground.repository.acquire_lease(other).await.unwrap();
    assert!(matches!(acquired, Acquisition::Held(_)), "{acquired:?}");
}

#[tokio::test]
async fn credentials_that_may_not_delete_leave_old_generations_and_do_not_ask_again() {
    let ground = ground().await;
    let denied = Effect::Refuse(ErrorKind::Denied);
    let repository = ground
        .with_faults(vec![Fault::first(Operation::Delete, "", denied).always()])
        .await;
    let lease = held(&repository, "first").await;
    lease.renew().await.unwrap();
    lease.renew().await.unwrap();
    assert_eq!(generations(&ground).await, ["1.json", "2.json", "3.json"]);
    lease.release().await.unwrap();
    let next = held(&repository, "second").await;
    assert_eq!(next.generation(), 4);
    assert!(!next.0.may_delete.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_lost_answer_keeps_others_out_but_not_who_asked() {
    let ground = ground().await;
    let lost = Effect::FailAfter(ErrorKind::Unavailable);
    let repository = ground
        .with_faults(vec![
            Fault::first(Operation::Put, layout::LEASES, lost),
            Fault::first(Operation::Put, layout::LEASES, lost).after(2),
        ])
        .await;
    assert!(repository.acquire_lease(options("first")).await.is_err());
    assert_eq!(busy(&repository, "second").await.generation, 1);
    let lease = held(&repository, "first").await;
    assert_eq!(lease.generation(), 2);

    assert!(lease.renew().await.is_err());
    lease.renew().await.unwrap();
    assert_eq!(lease.generation(), 3, "the object without an answer was ours");
    lease.confirm().await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_refuse_is_degraded_and_whose_object_is_there_decides() {
    let store = Arc::new(MemoryStore::without_create_only());
    let id = crate::repository::id::RepositoryId::new(1);
    let repository = Repository::open_or_create(store.clone(), id).await.unwrap();
    let first = held(&repository, "first").await;
    assert!(first.is_degraded());
    first.confirm().await.unwrap();
    // Another put of the same moment came later and won.
    let other = LeaseDocument {
        holder: "second".to_owned(),
        ..first.document(1)
    };
    store.replace(&first.key(1), document::encode(&other).unwrap());
    assert_lost(first.confirm().await, "second");
}

#[tokio::test]
async fn a_lease_that_nobody_understands_lasts_as_long_as_ours() {
    let ground = ground().await;
    let first = held(&ground.repository, "first").await;
    ground.store.replace(&first.key(1), Bytes::from_static(b"?"));
    assert_eq!(busy(&ground.repository, "second").await.expires, at(60));
    ground.store.set_clock(at(60));
    held(&ground.repository, "second").await;
}

#[tokio::test]
async fn a_kept_lease_is_renewed_until_it_is_lost() {
    let ground = ground().await;
    let brief = LeaseOptions {
        duration: Duration::from_millis(30),
        ..options("first")
    };
    let Acquisition::Held(lease) = ground.repository.acquire_lease(brief).await.unwrap() else {
        panic!("nobody else is there")
    };
    let renewed = async {
        while lease.generation() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        error = lease.keep() => panic!("{error}"),
        () = renewed => {}
    }
    ground.store.set_clock(at(60));
    held(&ground.repository, "second").await;
    assert_lost(Err(lease.keep().await), "second");
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_does_not_end_a_lease() {
    let ground = ground().await;
    let away = Effect::Refuse(ErrorKind::Unavailable);
    let store = Arc::new(FaultStore::new(
        ground.store.clone(),
        vec![Fault::first(Operation::Put, layout::LEASES, away).after(1)],
    ));
    let mut struck = store.struck();
    let repository = Repository::open(store).await.unwrap();
    let brief = LeaseOptions {
        duration: Duration::from_millis(30),
        ..options("first")
    };
    let Acquisition::Held(lease) = repository.acquire_lease(brief).await.unwrap() else {
        panic!("nobody else is there")
    };
    let recovered = async {
        struck.wait_for(|struck| *struck == 1).await.unwrap();
        while lease.generation() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        error = lease.keep() => panic!("{error}"),
        () = recovered => {}
    }
}

#[tokio::test]
async fn a_manifest_says_its_lease_and_without_it_there_is_no_backup() {
    let ground = ground().await;
    let tables = two_tables();
    let lease = held(&ground.repository, "first").await;
    for lost in [false, true] {
        let writer = ground.writer().await.under(Some(lease.clone()));
        let records = put_all(&writer, &tables).await.unwrap();
        if lost {
            ground.store.set_clock(at(60));
            held(&ground.repository, "second").await;
        }
        let committed = writer.commit(draft(i64::from(lost), &tables), records).await;
        if lost {
            assert_lost(committed.map(|_| ()), "second");
        } else {
            assert_eq!(committed.unwrap().manifest.lease_generation, Some(1));
        }
    }
    assert_eq!(ground.repository.backup_ids().await.unwrap().len(), 1);
}
