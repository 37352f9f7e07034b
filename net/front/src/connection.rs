//! A client connection whose bytes are inspected before hyper reads them.
//!
//! [`Inspected`] hands hyper a request head only when it is whole and accepted, and follows
//! each body to its end, so that it knows where the next head begins. When it refuses, hyper
//! sees no more bytes; the connection's task lets earlier answers finish, sends the refusal
//! and closes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::ReadBufCursor;
use tokio::net::TcpStream;

use crate::strict::{self, Chunked, Framing, Refused};

/// Bytes read at once, and beyond a whole head that may wait unread.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that are read and thrown away after a refusal.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What hyper reads from and writes to.
pub(crate) struct Inspected {
    shared: Rc<Shared>,
    buffer: Vec<u8>,
    /// Bytes at the start of the buffer that hyper has taken.
    taken: usize,
    /// Bytes of the buffer, after the taken ones, that hyper may take.
    passed: usize,
    /// Bytes of an incomplete head that were already looked at.
    scanned: usize,
    position: Position,
}

/// What the connection's task shares with hyper's side.
pub(crate) struct Shared {
    pub(crate) stream: TcpStream,
    refused: Cell<Option<Refused>>,
    /// A head has been passed on.
    any_passed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

enum Position {
    Head,
    Body(u64),
    ChunkedBody(Chunked),
}

impl Inspected {
    pub(crate) fn new(stream: TcpStream) -> (Self, Rc<Shared>) {
        let shared = Rc::new(Shared {
            stream,
            refused: Cell::new(None),
            any_passed: Cell::new(false),
            waker: RefCell::new(None),
        });
        let inspected = Self {
            shared: Rc::clone(&shared),
            buffer: Vec::new(),
            taken: 0,
            passed: 0,
            scanned: 0,
            position: Position::Head,
        };
        (inspected, shared)
    }

    /// Passes what can be passed of the bytes at hand.
    fn advance(&mut self) -> Result<(), Refused> {
        let start = self.taken + self.passed;
        let unseen = &self.buffer[start..];
        if unseen.is_empty() {
            return Ok(());
        }
        match &mut self.position {
            Position::Head => {
                let Some(length) = strict::head_length(unseen, self.scanned)? else {
                    self.scanned = unseen.len();
                    return Ok(());
                };
                self.position = match strict::inspect(&unseen[..length])? {
                    Framing::Length(0) => Position::Head,
                    Framing::Length(length) => Position::Body(length),
                    Framing::Chunked => Position::ChunkedBody(Chunked::START),
                };
                self.scanned = 0;
                self.passed += length;
                self.shared.any_passed.set(true);
            }
            Position::Body(left) => {
                let run = unseen
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= run as u64;
                if *left == 0 {
                    self.position = Position::Head;
                }
                self.passed += run;
            }
            Position::ChunkedBody(chunked) => {
                self.passed += chunked.advance(unseen)?;
                if *chunked == Chunked::Done {
                    self.position = Position::Head;
                }
            }
        }
        Ok(())
    }

    fn take_into(&mut self, out: &mut ReadBufCursor<'_>) {
        let run = self.passed.min(out.remaining());
        out.put_slice(&self.buffer[self.taken..self.taken + run]);
        self.taken += run;
        self.passed -= run;
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
            if self.buffer.capacity() > READ_BYTES {
                self.buffer = Vec::new();
            }
        }
    }

    /// Reads more; `Ok(0)` at the end of the stream.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        loop {
            ready!(self.shared.stream.poll_read_ready(cx))?;
            let length = self.buffer.len();
            self.buffer.resize(length + READ_BYTES, 0);
            let read = self.shared.stream.try_read(&mut self.buffer[length..]);
            self.buffer
                .truncate(length + read.as_ref().map_or(0, |n| *n));
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

impl hyper::rt::Read for Inspected {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.passed > 0 {
                this.take_into(&mut out);
                return Poll::Ready(Ok(()));
            }
            if this.shared.refused.get().is_some() {
                return Poll::Pending;
            }
            if let Err(refused) = this.advance() {
                this.shared.refuse(refused);
                return Poll::Pending;
            }
            if this.passed == 0 && ready!(this.fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl hyper::rt::Write for Inspected {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared.poll_try(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.shared
            .poll_try(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection's task closes: a refusal may still have to be sent.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Shared {
    /// Resolves when a request was refused; second: whether earlier ones may be under way.
    pub(crate) async fn refusal(&self) -> (Refused, bool) {
        poll_fn(|cx| match self.refused.get() {
            Some(refused) => Poll::Ready((refused, self.any_passed.get())),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Whether a request was ever passed on.
    pub(crate) fn any_passed(&self) -> bool {
        self.any_passed.get()
    }

    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_try(cx, |s| s.try_write(bytes))).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Ends our side and reads what the client still sends, for a while: closing with unread
    /// bytes would reset the connection, and the client might never see the answer.
    pub(crate) async fn linger(&self) {
        let closed = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        if closed.is_err() {
            return;
        }
        let mut discarded = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 && self.stream.readable().await.is_ok() {
            match self.stream.try_read(&mut discarded) {
                Ok(0) => return,
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn refuse(&self, refused: Refused) {
        self.refused.set(Some(refused));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_try(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                }
                other => return Poll::Ready(other),
            }
        }
    }
}
