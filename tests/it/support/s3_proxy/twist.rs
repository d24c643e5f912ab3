//! A body on its way through, and what happens to it there.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body, Frame};

use super::Fault;

/// A body as it is passed on.
pub(super) type Passed = UnsyncBoxBody<Bytes, io::Error>;

/// In so many pieces a slow body comes.
const PIECES_PER_SECOND: u64 = 20;

/// What happens to a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Twist {
    None,
    Slow(u64),
    Cut(u64),
    Stall(u64),
    Corrupt,
}

impl Twist {
    pub(super) fn of_request(fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::Slow(rate)) => Self::Slow(rate),
            Some(Fault::CutRequest(bytes)) => Self::Cut(bytes),
            Some(Fault::CorruptRequest) => Self::Corrupt,
            _ => Self::None,
        }
    }

    pub(super) fn of_answer(fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::Slow(rate)) => Self::Slow(rate),
            Some(Fault::CutAnswer(bytes)) => Self::Cut(bytes),
            Some(Fault::StallAnswer(bytes)) => Self::Stall(bytes),
            Some(Fault::CorruptAnswer) => Self::Corrupt,
            _ => Self::None,
        }
    }
}

pub(super) fn whole(bytes: Bytes) -> Passed {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body between its two ends.
struct Passing<B> {
    body: B,
    twist: Twist,
    /// Where the bit is that is flipped; none: in the middle of the first piece.
    flip_at: Option<u64>,
    passed: u64,
    /// What has come and is still to be passed on.
    held: Bytes,
    is_done: bool,
}

/// Passes a body on piece by piece, as fast as it is taken.
pub(super) fn twisted<B>(body: B, twist: Twist) -> Passed
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: StdError + Send + Sync + 'static,
{
    if matches!(twist, Twist::None) {
        return body.map_err(io::Error::other).boxed_unsync();
    }
    let passing = Passing {
        flip_at: body.size_hint().exact().map(|bytes| bytes / 2),
        body,
        twist,
        passed: 0,
        held: Bytes::new(),
        is_done: false,
    };
    let pieces: BoxStream<'static, io::Result<Frame<Bytes>>> = stream::unfold(passing, Passing::next).boxed();
    StreamBody::new(pieces).boxed_unsync()
}

impl<B> Passing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: StdError + Send + Sync + 'static,
{
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if self.is_done {
            return None;
        }
        let limit = match self.twist {
            Twist::Cut(limit) | Twist::Stall(limit) => limit,
            _ => u64::MAX,
        };
        if self.passed >= limit {
            return self.end_early().await;
        }
        while self.held.is_empty() {
            match self.body.frame().await? {
                Ok(frame) => self.held = frame.into_data().unwrap_or_default(),
                Err(error) => {
                    self.is_done = true;
                    return Some((Err(io::Error::other(error)), self));
                }
            }
        }
        let most = self
            .most()
            .min(usize::try_from(limit - self.passed).unwrap_or(usize::MAX));
        let piece = self.held.split_to(most.min(self.held.len()));
        let piece = self.flip(piece);
        self.passed += piece.len() as u64;
        if let Twist::Slow(rate) = self.twist {
            tokio::time::sleep(Duration::from_nanos(piece.len() as u64 * 1_000_000_000 / rate)).await;
        }
        Some((Ok(Frame::data(piece)), self))
    }

    /// A slow wire is one that is never silent for long.
    fn most(&self) -> usize {
        match self.twist {
            Twist::Slow(rate) => usize::try_from(rate / PIECES_PER_SECOND).unwrap_or(usize::MAX).max(1),
            _ => usize::MAX,
        }
    }

    /// What went before is on its way first: hyper sends what it holds when a body makes it wait.
    async fn end_early(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if matches!(self.twist, Twist::Stall(_)) {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        self.is_done = true;
        Some((Err(io::Error::other("cut, as the script ordered")), self))
    }

    fn flip(&mut self, piece: Bytes) -> Bytes {
        if !matches!(self.twist, Twist::Corrupt) {
            return piece;
        }
        let at = *self.flip_at.get_or_insert(piece.len() as u64 / 2);
        let Some(position) = at.checked_sub(self.passed).and_then(|at| usize::try_from(at).ok()) else {
            return piece;
        };
        let mut piece = BytesMut::from(&piece[..]);
        if let Some(byte) = piece.get_mut(position) {
            *byte ^= 1;
        }
        piece.freeze()
    }
}
