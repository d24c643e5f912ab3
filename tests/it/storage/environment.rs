//! Credentials and region as the AWS SDK finds them: environment, profile, web identity, container role, or nothing.
//!
//! A process's environment cannot be changed safely while tests run beside each other: so this binary runs itself, one
//! test alone, in an environment of its own.

use std::fs;

use bytes::Bytes;
use kubebackup::demo::Identity;
use kubebackup::storage::{ObjectStore as _, Put, Result, S3Options, S3Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{ACCESS_KEY, BUCKET, Bucket, SECRET_KEY, chain};

/// What the child says before its outcome.
const OUTCOME: &str = "OUTCOME ";

/// The test that is run again as the child; by itself it is the child without anything in its environment.
#[tokio::test]
async fn no_credentials_at_all_are_told_as_such() {
    match std::env::var("CHILD_BUCKET") {
        Ok(bucket) => child(bucket).await,
        Err(_) => no_credentials_at_all().await,
    }
}

async fn child(bucket: String) {
    let variable = |name| std::env::var(name).ok();
    let options = S3Options {
        endpoint: variable("CHILD_ENDPOINT"),
        profile: variable("CHILD_PROFILE"),
        path_style: true,
        ..S3Options::new(bucket)
    };
    match put(options).await {
        Ok(put) => println!("{OUTCOME}{put:?}"),
        Err(error) => println!("{OUTCOME}{:?} {}", error.kind, chain(&error)),
    }
}

async fn put(options: S3Options) -> Result<Put> {
    let store = S3Store::open(options).await?;
    store.put_new("key", Bytes::from_static(b"body")).await
}

/// What the child says when `environment` is all that it has.
async fn outcome(environment: &[(&str, &str)]) -> String {
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "storage::environment::no_credentials_at_all_are_told_as_such",
            "--nocapture",
        ])
        .env_clear()
        .env("CHILD_BUCKET", BUCKET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.split_once(OUTCOME));
    line.unwrap_or_else(|| panic!("{output:?}")).1.to_owned()
}

/// A server that answers every request alike and tells the last one it saw.
async fn answering(content_type: &'static str, body: String) -> (String, tokio::sync::watch::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (seen, last) = tokio::sync::watch::channel(String::new());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let count = socket.read(&mut request).await.unwrap();
            seen.send_replace(String::from_utf8_lossy(&request[..count]).into_owned());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (endpoint, last)
}

#[tokio::test]
async fn credentials_come_from_the_environment() {
    let bucket = Bucket::new().await;
    let endpoint = bucket.server.endpoint();
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let with = |variable| [&keys[..], &[(variable, endpoint.as_str())]].concat();
    assert_eq!(outcome(&with("CHILD_ENDPOINT")).await, "Created");
    assert_eq!(
        outcome(&with("AWS_ENDPOINT_URL")).await,
        "Exists",
        "the SDK's own variable, and no region needed"
    );
    assert_eq!(outcome(&with("AWS_ENDPOINT_URL_S3")).await, "Exists");
}

#[tokio::test]
async fn credentials_come_from_a_profile() {
    let bucket = Bucket::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = NOBODY\naws_secret_access_key = wrong\n\
         [backup]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    );
    fs::write(&file, text).unwrap();
    let endpoint = bucket.server.endpoint();
    let environment = [
        ("CHILD_ENDPOINT", endpoint.as_str()),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ];
    let text = outcome(&environment).await;
    assert!(
        text.starts_with("Credentials ") && text.contains("InvalidAccessKeyId"),
        "{text}"
    );
    // Named in the settings, it goes before what happens to stand in the environment.
    let others = [("AWS_ACCESS_KEY_ID", "NOBODY"), ("AWS_SECRET_ACCESS_KEY", "wrong")];
    let named = [&environment[..], &others, &[("CHILD_PROFILE", "backup")]].concat();
    assert_eq!(outcome(&named).await, "Created");
    let missing = [&environment[..], &others, &[("CHILD_PROFILE", "bakcup")]].concat();
    let text = outcome(&missing).await;
    assert!(text.starts_with("Credentials ") && text.contains("bakcup"), "{text}");
}

#[tokio::test]
async fn credentials_come_from_a_web_identity() {
    let bucket = Bucket::new().await;
    bucket.controls().admit(Identity::full("ASIAWEB", "web-secret"));
    let (sts, asked) = answering("text/xml", assumed_role("ASIAWEB", "web-secret")).await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "token-of-a-service-account").unwrap();
    let endpoint = bucket.server.endpoint();
    let environment = [
        ("CHILD_ENDPOINT", endpoint.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    assert_eq!(outcome(&environment).await, "Created");
    assert!(asked.borrow().contains("token-of-a-service-account"));
    assert_eq!(bucket.controls().requests()[0].access_key, "ASIAWEB");
    assert_eq!(
        bucket.controls().requests()[0].header("x-amz-security-token"),
        Some("session")
    );
}

fn assumed_role(access_key: &str, secret_key: &str) -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{access_key}</AccessKeyId>\
         <SecretAccessKey>{secret_key}</SecretAccessKey><SessionToken>session</SessionToken>\
         <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
         </AssumeRoleWithWebIdentityResponse>"
    )
}

#[tokio::test]
async fn credentials_come_from_the_identity_of_a_pod() {
    let bucket = Bucket::new().await;
    bucket.controls().admit(Identity::full("ASIAPOD", "pod-secret"));
    let answer = "{\"AccessKeyId\":\"ASIAPOD\",\"SecretAccessKey\":\"pod-secret\",\"Token\":\"session\",\
                  \"Expiration\":\"2999-01-01T00:00:00Z\"}";
    let (agent, asked) = answering("application/json", answer.to_owned()).await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "token-of-a-pod").unwrap();
    let endpoint = bucket.server.endpoint();
    let agent = format!("{agent}/v1/credentials");
    let environment = [
        ("CHILD_ENDPOINT", endpoint.as_str()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
    ];
    assert_eq!(outcome(&environment).await, "Created");
    assert!(asked.borrow().contains("token-of-a-pod"));
    assert_eq!(bucket.controls().requests()[0].access_key, "ASIAPOD");
}

async fn no_credentials_at_all() {
    let bucket = Bucket::new().await;
    let endpoint = bucket.server.endpoint();
    let text = outcome(&[("CHILD_ENDPOINT", endpoint.as_str())]).await;
    assert!(
        text.starts_with("Credentials put of 'key': credentials refused"),
        "{text}"
    );
    assert!(text.contains("no credentials found in chain"), "{text}");
    assert!(bucket.controls().requests().is_empty());
}

#[tokio::test]
async fn no_region_for_a_store_of_aws_is_told_before_any_request() {
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let text = outcome(&keys).await;
    assert!(text.starts_with("Settings ") && text.contains("AWS_REGION"), "{text}");
}
