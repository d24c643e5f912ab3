//! A directory as a store: what it must do, and what its place on a disk brings.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::storage::conformance::conformance;
use crate::storage::list_all;

fn store() -> (tempfile::TempDir, FilesystemStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = FilesystemStore::new(directory.path().to_owned(), "");
    (directory, store)
}

#[tokio::test]
async fn a_directory_does_what_a_store_must() {
    let (directory, store) = store();
    conformance(&store).await;
    let left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [path::INCOMING], "no empty directories either");
    assert_eq!(fs::read_dir(directory.path().join(path::INCOMING)).unwrap().count(), 0);
}

#[tokio::test]
async fn a_prefix_is_a_directory_of_its_own_that_is_made_when_needed() {
    let (directory, whole) = store();
    let store = FilesystemStore::new(directory.path().to_owned(), "one/two");
    assert_eq!(
        list_all(&store, "", None).await.unwrap(),
        [],
        "nothing there is an empty repository"
    );
    conformance(&store).await;
    store.put_new("a/b", Bytes::new()).await.unwrap();
    let objects = list_all(&whole, "", None).await.unwrap();
    assert_eq!(
        objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(),
        ["one/two/a/b"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creators_one_wins_and_its_body_is_whole() {
    let (_directory, store) = store();
    let store = Arc::new(store);
    for round in 0..20 {
        let key = format!("race/{round}/object");
        let creators: Vec<_> = (0..8_u8)
            .map(|number| {
                let (store, key) = (store.clone(), key.clone());
                tokio::spawn(async move { store.put_new(&key, vec![number; 100_000].into()).await.unwrap() })
            })
            .collect();
        let mut created = Vec::new();
        for (number, creator) in creators.into_iter().enumerate() {
            if creator.await.unwrap() == Put::Created {
                created.push(u8::try_from(number).unwrap());
            }
        }
        assert_eq!(created.len(), 1, "{created:?}");
        assert_eq!(store.get(&key).await.unwrap(), vec![created[0]; 100_000]);
    }
}

#[tokio::test]
async fn a_way_that_is_removed_while_it_is_made_is_made_again() {
    let (_directory, store) = store();
    let store = Arc::new(store);
    let remover = {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..300 {
                store.delete("deep/er/removed").await.unwrap();
                store.put_new("deep/er/removed", Bytes::new()).await.unwrap();
                store.delete("deep/er/removed").await.unwrap();
            }
        })
    };
    for number in 0..300 {
        let key = format!("deep/er/{number}");
        assert_eq!(store.put_new(&key, Bytes::new()).await.unwrap(), Put::Created);
        store.delete(&key).await.unwrap();
    }
    remover.await.unwrap();
    assert_eq!(list_all(&*store, "", None).await.unwrap(), []);
}

#[tokio::test]
async fn a_mount_that_is_away_is_no_empty_repository() {
    let store = FilesystemStore::new("/nonexistent/volume".into(), "cluster");
    let errors = [
        store.list("manifests/", None, 10).await.unwrap_err(),
        store.get("repository.json").await.unwrap_err(),
        store.head("repository.json").await.unwrap_err(),
        store.put_new("repository.json", Bytes::new()).await.unwrap_err(),
        store.delete("repository.json").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        let source = error.source.unwrap().to_string();
        assert!(
            source.contains("'/nonexistent/volume'") && source.contains("mounted"),
            "{source}"
        );
    }
}

#[tokio::test]
async fn no_key_leads_out_of_the_directory_or_into_its_own_names() {
    let (directory, store) = store();
    for key in [
        "../out",
        "a/../../out",
        "/etc/passwd",
        "a//b",
        "",
        "a/",
        "./a",
        ".incoming/x",
        "a/.b",
        "a\0b",
    ] {
        let refused = [
            store.put_new(key, Bytes::new()).await.unwrap_err(),
            store.get(key).await.unwrap_err(),
            store.head(key).await.unwrap_err(),
            store.delete(key).await.unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind, ErrorKind::Other, "{key}");
        }
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_no_regular_file_is_no_object() {
    let (directory, store) = store();
    let secret = tempfile::NamedTempFile::new().unwrap();
    symlink(secret.path(), directory.path().join("link")).unwrap();
    nix::unistd::mkfifo(&directory.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for key in ["link", "pipe"] {
        assert_eq!(store.get(key).await.unwrap_err().kind, ErrorKind::NotFound, "{key}");
        assert_eq!(store.head(key).await.unwrap_err().kind, ErrorKind::NotFound, "{key}");
        // The name is taken all the same: nothing is put over it.
        assert_eq!(store.put_new(key, Bytes::new()).await.unwrap(), Put::Exists);
    }
    assert_eq!(list_all(&store, "", None).await.unwrap(), []);
}

#[tokio::test]
async fn bodies_that_killed_writers_left_are_swept_and_those_of_living_ones_are_not() {
    let (directory, store) = store();
    let incoming = directory.path().join(path::INCOMING);
    fs::create_dir(&incoming).unwrap();
    for (name, hours) in [("old", 25), ("young", 23)] {
        let file = fs::File::create(incoming.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(hours))
            .unwrap();
    }
    let days_ago = store.now() - Duration::from_hours(48);
    assert_eq!(
        store.remove_unfinished(days_ago).await.unwrap(),
        0,
        "still under way by those rules"
    );
    assert_eq!(store.remove_unfinished(store.now()).await.unwrap(), 1);
    let left: Vec<_> = fs::read_dir(&incoming)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["young"]);
    assert_eq!(list_all(&store, "", None).await.unwrap(), []);
}

#[tokio::test]
async fn a_listing_crosses_directories_in_the_order_of_keys() {
    let (_directory, store) = store();
    let ordered = ["a-b", "a.json", "a/b.json", "a/b/c", "a/b/d", "a0", "b"];
    for key in ordered {
        store.put_new(key, Bytes::new()).await.unwrap();
    }
    for limit in 1..=ordered.len() {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let page = store.list("", seen.last().map(String::as_str), limit).await.unwrap();
            seen.extend(page.objects.into_iter().map(|object| object.key));
            if !page.truncated {
                break;
            }
        }
        assert_eq!(seen, ordered, "pages of {limit}");
    }
}

#[tokio::test]
async fn a_link_on_the_way_is_followed_by_no_request() {
    let (directory, store) = store();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "a secret").unwrap();
    symlink(outside.path(), directory.path().join("link")).unwrap();
    symlink(outside.path(), directory.path().join(path::INCOMING)).unwrap();
    for key in ["link/secret", "link/new", "link/below/new"] {
        let errors = [
            store.put_new(key, Bytes::new()).await.unwrap_err(),
            store.get(key).await.unwrap_err(),
            store.head(key).await.unwrap_err(),
            store.delete(key).await.unwrap_err(),
            store.delete_many(&[key.to_owned()]).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind, ErrorKind::Other, "{key}: {error:?}");
        }
    }
    assert!(store.list("link/", None, 10).await.is_err());
    assert_eq!(list_all(&store, "", None).await.unwrap(), []);
    // Where bodies wait for their keys is no place of somebody else's either.
    assert!(store.put_new("key", Bytes::new()).await.is_err());
    let left: Vec<_> = fs::read_dir(outside.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["secret"]);
}

#[tokio::test]
async fn the_operators_own_links_to_the_directory_are_followed() {
    let real = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    symlink(real.path(), directory.path().join("mount")).unwrap();
    let store = FilesystemStore::new(directory.path().join("mount"), "prefix");
    conformance(&store).await;
}

#[tokio::test]
async fn a_directory_that_cannot_tell_the_time_says_so_to_who_deletes_by_age_and_is_read_all_the_same() {
    let (directory, store) = store();
    fs::create_dir(directory.path().join("chunks")).unwrap();
    fs::write(directory.path().join("chunks/a"), "old").unwrap();
    // Nothing can be written there, and not because we may not.
    fs::write(directory.path().join(path::INCOMING), "in the way").unwrap();
    store.tell_time("chunks/").await.unwrap_err();
    assert_eq!(list_all(&store, "", None).await.unwrap().len(), 1);
    fs::remove_file(directory.path().join(path::INCOMING)).unwrap();
    store.tell_time("chunks/").await.unwrap();
    let nothing_yet = FilesystemStore::new(directory.path().to_owned(), "not/made");
    nothing_yet.tell_time("chunks/").await.unwrap();
}

/// As by a volume whose file server is away.
#[tokio::test]
async fn a_volume_that_does_not_answer_is_unavailable_until_it_does() {
    let (_directory, store) = store();
    let store = store.with_patience(Duration::from_millis(20));
    let (away, server) = mpsc::channel::<()>();
    let server = Arc::new(Mutex::new(server));
    let text = |error: Error| {
        assert!(error.is_unavailable(), "{error}");
        error.source.unwrap().to_string()
    };
    for _ in 0..turn::MOST_STANDING {
        let server = Arc::clone(&server);
        let stands = move |_: &Base, _: &Turn| {
            let _ = server.lock().unwrap().recv();
            Ok(())
        };
        let told = text(store.run(Operation::Get, "k", stands).await.unwrap_err());
        assert!(told.contains("does not answer, within"), "{told}");
    }
    let told = text(store.head("k").await.unwrap_err());
    assert!(told.contains("16 earlier requests still wait"), "{told}");
    drop(away);
    let answers = async {
        while store.head("k").await.unwrap_err().is_unavailable() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answers).await.unwrap();
}

#[tokio::test]
async fn work_that_goes_on_has_time_and_what_was_given_up_changes_nothing_any_more() {
    let (_directory, store) = store();
    let patience = Duration::from_millis(50);
    let store = store.with_patience(patience);
    let slow = move |_: &Base, turn: &Turn| {
        let begun = Instant::now();
        while begun.elapsed() < 4 * patience {
            turn.step();
            std::thread::yield_now();
        }
        Ok(())
    };
    store.run(Operation::Delete, "k", slow).await.unwrap();

    store.put_new("kept", Bytes::from_static(b"kept")).await.unwrap();
    let given_up = Turn::default();
    given_up.give_up();
    place::place(&store.base, &given_up, "late", b"late").unwrap_err();
    place::remove(&store.base, &given_up, "kept").unwrap_err();
    let objects = list_all(&store, "", None).await.unwrap();
    assert_eq!(
        objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(),
        ["kept"]
    );
}
