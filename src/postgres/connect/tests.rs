//! Several addresses of one host: each gets its part of the time.

use tokio::net::TcpListener;

use super::*;

fn options() -> ConnectOptions {
    ConnectOptions {
        host: "several".to_owned(),
        port: 5432,
        user: "backup".to_owned(),
        database: "shop".to_owned(),
        password: Password::None,
        tls: TlsMode::Disable,
        connect_timeout: Duration::from_secs(2),
    }
}

async fn listener() -> (TcpListener, Place) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::Address(listener.local_addr().unwrap());
    (listener, place)
}

/// How it ends when nobody listens at the second of two addresses.
async fn after(first: &Place) -> String {
    let (listener, nobody) = listener().await;
    drop(listener);
    let options = options();
    let config = configuration(&options, "test").unwrap();
    let Err(error) = open_first(&[first.clone(), nobody], &config, &options, None).await else {
        panic!("connected to nobody");
    };
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {} {:?}", source.unwrap_or_default(), error)
}

#[tokio::test]
async fn an_address_that_hangs_up_or_says_nothing_leaves_time_for_the_next() {
    let (hanging_up, place) = listener().await;
    let hangs_up = tokio::spawn(async move { drop(hanging_up.accept().await.unwrap()) });
    let refused = after(&place).await;
    hangs_up.await.unwrap();
    assert!(refused.contains("error connecting to server"), "{refused}");
    let (_silent, place) = listener().await;
    let refused = after(&place).await;
    assert!(refused.contains("error connecting to server"), "{refused}");
}

#[tokio::test]
async fn addresses_that_all_say_nothing_are_no_answer_in_time() {
    let ((_one, first), (_other, second)) = (listener().await, listener().await);
    let options = options();
    let config = configuration(&options, "test").unwrap();
    let opened = open_first(&[first, second], &config, &options, None).await;
    assert!(matches!(opened, Err(Error::ConnectTimeout { seconds: 2, .. })));
}
