//! Bodies, in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tidegate_kernel::Outcome;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::guard::Guard;

/// Bytes of a file sent at once.
const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// What a client is answered with.
pub enum Answer {
    Whole(Option<Bytes>),
    /// Streamed from an instance or another region.
    Relayed(Relayed),
    File(FileBody),
}

/// An answer that is still coming in. Its guard ends the request when it is whole, breaks,
/// or is dropped.
pub struct Relayed {
    incoming: Incoming,
    guard: Guard,
    silence: Pin<Box<Sleep>>,
    silence_max: Duration,
}

impl Relayed {
    pub(crate) fn new(incoming: Incoming, mut guard: Guard, silence_max: Duration) -> Self {
        if incoming.is_end_stream() {
            guard.end(Outcome::Answered);
        }
        Self {
            incoming,
            guard,
            silence: Box::pin(tokio::time::sleep(silence_max)),
            silence_max,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence
                    .as_mut()
                    .reset(Instant::now() + self.silence_max);
                if self.incoming.is_end_stream() {
                    self.guard.end(Outcome::Answered);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.guard.end(Outcome::Broken);
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            Poll::Ready(None) => {
                self.guard.end(Outcome::Answered);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(cx));
                self.guard.end(Outcome::TimedOut);
                Poll::Ready(Some(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the app stopped in the middle of its answer",
                ))))
            }
        }
    }
}

/// A part of a file.
pub struct FileBody {
    file: tokio::fs::File,
    left: u64,
    guard: Guard,
}

impl FileBody {
    pub(crate) fn new(file: tokio::fs::File, length: u64, guard: Guard) -> Self {
        Self {
            file,
            left: length,
            guard,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            self.guard.end(Outcome::Answered);
            return Poll::Ready(None);
        }
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(FILE_CHUNK_BYTES);
        let mut chunk = vec![0; want];
        let mut buffer = ReadBuf::new(&mut chunk);
        if let Err(error) = ready!(Pin::new(&mut self.file).poll_read(cx, &mut buffer)) {
            self.guard.end(Outcome::Broken);
            return Poll::Ready(Some(Err(error)));
        }
        let read = buffer.filled().len();
        if read == 0 {
            self.guard.end(Outcome::Broken);
            let short = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter");
            return Poll::Ready(Some(Err(short)));
        }
        chunk.truncate(read);
        self.left -= read as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Answer::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Answer::Relayed(relayed) => relayed.poll(cx),
            Answer::File(file) => file.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Answer::Relayed(relayed) => relayed.incoming.is_end_stream(),
            Answer::File(file) => file.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Answer::Relayed(relayed) => relayed.incoming.size_hint(),
            Answer::File(file) => SizeHint::with_exact(file.left),
        }
    }
}

/// A request body with an upper bound.
pub(crate) struct Bounded {
    incoming: Incoming,
    left: u64,
}

impl Bounded {
    pub(crate) fn new(incoming: Incoming, bytes_max: u64) -> Self {
        Self {
            incoming,
            left: bytes_max,
        }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        if length > self.left {
            return Poll::Ready(Some(Err(io::Error::other(
                "the request body is larger than this gateway takes",
            ))));
        }
        self.left -= length;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
