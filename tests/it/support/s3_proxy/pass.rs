//! One call on its way: passed on to the server and its answer back, or what the script says instead.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::state::Shared;
use super::twist::{Passed, Twist, twisted, whole};
use super::{Call, Fault, Refusal, refusals};

/// An error here closes the client's connection without an answer.
pub(super) async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Passed>> {
    let call = Call::of(request.method(), request.uri());
    let query = request.uri().to_string();
    let fault = shared.lock().meet(&call, &query);
    match fault {
        Some(Fault::Refuse) => return Err(io::Error::other("refused, as the script ordered")),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(refusal)) => return refuse(refusal, &call, request).await,
        Some(Fault::Stale) => {
            let remembered = shared.lock().remembered(&query);
            let (head, body) = remembered.expect("looked for when the call was met");
            return Ok(Response::from_parts(head, whole(body)));
        }
        _ => {}
    }
    let answer = forward(&shared.upstream, request, Twist::of_request(fault)).await?;
    let (mut head, body) = answer.into_parts();
    // Both are about the way between the server and here.
    head.headers.remove(header::CONNECTION);
    head.headers.remove(header::TRANSFER_ENCODING);
    if fault == Some(Fault::LoseAnswer) {
        let _ = body.collect().await;
        return Err(io::Error::other("the answer is lost, as the script ordered"));
    }
    if call.operation == "ListObjectsV2" && head.status.is_success() {
        let listed = body.collect().await.map_err(io::Error::other)?.to_bytes();
        shared.lock().remember(query, (head.clone(), listed.clone()));
        return Ok(Response::from_parts(
            head,
            twisted(Full::new(listed), Twist::of_answer(fault)),
        ));
    }
    Ok(Response::from_parts(head, twisted(body, Twist::of_answer(fault))))
}

async fn forward(upstream: &str, request: Request<Incoming>, twist: Twist) -> io::Result<Response<Incoming>> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, twisted(body, twist));
    sender.send_request(request).await.map_err(io::Error::other)
}

/// As a store does: once the request has come, with a code unless it was a HEAD.
async fn refuse(refusal: Refusal, call: &Call, request: Request<Incoming>) -> io::Result<Response<Passed>> {
    let _ = request.into_body().collect().await;
    let Refusal { status, code } = refusal;
    let body = match call.operation {
        "HeadObject" => Bytes::new(),
        _ if code.is_empty() => "<html><body>default backend</body></html>".into(),
        _ => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as the script ordered\
             </Message></Error>"
        )
        .into(),
    };
    let kind = if code.is_empty() {
        "text/html"
    } else {
        "application/xml"
    };
    let mut answer = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    if refusals::SKEWED == Fault::Answer(refusal) {
        answer = answer.header(header::DATE, "Mon, 01 Jan 2001 00:00:00 GMT");
    }
    answer.body(whole(body)).map_err(io::Error::other)
}
