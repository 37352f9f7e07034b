//! Whether an instance answers.
//!
//! A TCP connect within a second, or a GET that is answered with 2xx or 3xx within two. The
//! request is written by hand: one line of the answer is all that matters, and reading stops
//! there. A redirect counts as healthy because apps commonly redirect `/` to a login.
//!
//! It must never count its own echo as an answer: a connect to a port of the ephemeral range
//! where nobody listens can be given that very port as its source, and then TCP connects it
//! to itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// A status line is shorter: "HTTP/1.1 200".
const STATUS_BYTES: usize = 12;

/// Tries once. An empty path: connecting is enough.
pub(crate) async fn is_healthy(endpoint: SocketAddr, health_path: &str) -> bool {
    if health_path.is_empty() {
        return matches!(
            timeout(CONNECT_TIME_MAX, connect(endpoint)).await,
            Ok(Ok(_))
        );
    }
    let Some(request) = request(endpoint, health_path) else {
        tracing::warn!(
            health_path,
            "not a health path: it begins with / and has no spaces"
        );
        return false;
    };
    let answer = timeout(ANSWER_TIME_MAX, ask(endpoint, &request)).await;
    matches!(answer, Ok(Ok(status)) if is_good(&status))
}

async fn connect(endpoint: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(endpoint).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

async fn ask(endpoint: SocketAddr, request: &str) -> io::Result<[u8; STATUS_BYTES]> {
    let mut stream = connect(endpoint).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; STATUS_BYTES];
    stream.read_exact(&mut status).await?;
    Ok(status)
}

/// `None`: the path would end the request line or begin a header.
fn request(endpoint: SocketAddr, path: &str) -> Option<String> {
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    is_path.then(|| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: tidegate-health\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        )
    })
}

fn is_good(status: &[u8; STATUS_BYTES]) -> bool {
    matches!(
        status,
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            _,
            b' ',
            b'2' | b'3',
            b'0'..=b'9',
            b'0'..=b'9'
        ]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_and_redirects_are_healthy() {
        assert!(is_good(b"HTTP/1.1 200"));
        assert!(is_good(b"HTTP/1.0 302"));
        for bad in [
            b"HTTP/1.1 404",
            b"HTTP/1.1 503",
            b"HTTP/2.0 200",
            b"SSH-2.0-Open",
        ] {
            assert!(!is_good(bad));
        }
    }

    #[test]
    fn a_path_cannot_smuggle() {
        let endpoint = "127.0.0.1:1".parse().expect("an address");
        assert!(request(endpoint, "/health?deep=1").is_some());
        for bad in ["health", "/a b", "/a\r\nHost: b", "http://x/"] {
            assert!(request(endpoint, bad).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn an_echo_of_ourselves_is_no_answer() -> io::Result<()> {
        // A socket that is bound to the port it connects to meets itself.
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse().expect("an address"))?;
        let endpoint = socket.local_addr()?;
        let stream = socket.connect(endpoint).await?;
        assert_eq!(stream.local_addr()?, stream.peer_addr()?);
        drop(stream);
        assert!(!is_healthy(endpoint, "").await);
        Ok(())
    }
}
