//! Which request heads are accepted.
//!
//! A gateway and the app behind it must agree on where each request ends and whom it is for.
//! Whatever two parsers could read differently is refused here, before hyper sees a byte of
//! it: bare line feeds, folded lines, a length beside a transfer coding, a second Host, a
//! target that contradicts Host. What passes is unambiguous (RFC 9112), and is serialised
//! anew towards the instance.

/// Bytes of a request head, and its lines.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
pub const HEADERS_MAX: usize = 128;
/// Bytes of a request target.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Where the body of an accepted request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, or one of so many bytes.
    Length(u64),
    Chunked,
}

/// A head that is not accepted: the status, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Refused {
    Refused {
        status: 400,
        reason,
    }
}

/// Length of the head at the start of `bytes`, its final empty line included; `None` while
/// it is incomplete.
///
/// # Errors
/// It is longer than [`HEAD_BYTES_MAX`], or a line ends without a carriage return.
pub fn head_length(bytes: &[u8], from: usize) -> Result<Option<usize>, Refused> {
    let mut at = from.saturating_sub(3);
    while let Some(offset) = bytes[at..].iter().position(|b| *b == b'\n') {
        let line_feed = at + offset;
        if line_feed == 0 || bytes[line_feed - 1] != b'\r' {
            return Err(bad("a line ends in a bare line feed"));
        }
        if line_feed + 1 > HEAD_BYTES_MAX {
            break;
        }
        if bytes[..line_feed + 1].ends_with(b"\r\n\r\n") {
            return Ok(Some(line_feed + 1));
        }
        at = line_feed + 1;
    }
    if bytes.len() >= HEAD_BYTES_MAX {
        return Err(Refused {
            status: 431,
            reason: "the request head is longer than 64 KiB",
        });
    }
    Ok(None)
}

/// Reads a whole head, up to and with its empty line.
///
/// # Errors
/// It is malformed or ambiguous.
pub fn inspect(head: &[u8]) -> Result<Framing, Refused> {
    let head = head
        .strip_suffix(b"\r\n\r\n")
        .ok_or(bad("the request head is incomplete"))?;
    let mut lines = head.split(|b| *b == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\r') {
            Err(bad("a bare carriage return"))
        } else {
            Ok(line)
        }
    });
    let request_line = lines.next().ok_or(bad("no request line"))??;
    let request = RequestLine::parse(request_line)?;
    let mut fields = Fields::default();
    for (count, line) in lines.enumerate() {
        if count >= HEADERS_MAX {
            return Err(Refused {
                status: 431,
                reason: "more than 128 header lines",
            });
        }
        fields.take(line?)?;
    }
    let host = fields.host.ok_or(bad("the Host header is missing"))?;
    request.check_against(host)?;
    match (fields.length, fields.chunked) {
        (Some(_), true) => Err(bad("Content-Length beside Transfer-Encoding")),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, true) if request.http_1_0 => Err(bad("Transfer-Encoding in an HTTP/1.0 request")),
        (None, true) => Ok(Framing::Chunked),
        (None, false) => Ok(Framing::Length(0)),
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    http_1_0: bool,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Refused> {
        let mut words = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad(
                "the request line is not a method, a target and a version",
            ));
        };
        if method.is_empty() || method.len() > 32 || !method.iter().all(|b| is_token(*b)) {
            return Err(bad("the method is no token"));
        }
        if target.len() > TARGET_BYTES_MAX {
            return Err(Refused {
                status: 414,
                reason: "the request target is longer than 16 KiB",
            });
        }
        if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(bad("the request target has characters that no URI has"));
        }
        let http_1_0 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => {
                return Err(Refused {
                    status: 505,
                    reason: "only HTTP/1.1 and HTTP/1.0 are spoken here",
                });
            }
        };
        Ok(Self {
            method,
            target,
            http_1_0,
        })
    }

    fn check_against(&self, host: &[u8]) -> Result<(), Refused> {
        match self.target {
            [b'/', ..] => Ok(()),
            b"*" if self.method == b"OPTIONS" => Ok(()),
            target => {
                let authority = absolute_authority(target)
                    .ok_or(bad("the request target is neither a path nor a URL"))?;
                if authority.eq_ignore_ascii_case(host) {
                    Ok(())
                } else {
                    Err(bad("the request target contradicts Host"))
                }
            }
        }
    }
}

fn absolute_authority(target: &[u8]) -> Option<&[u8]> {
    let scheme_end = target.windows(3).position(|w| w == b"://")?;
    let scheme = &target[..scheme_end];
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = &target[scheme_end + 3..];
    let end = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    Some(&rest[..end])
}

#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, line: &'a [u8]) -> Result<(), Refused> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(bad("a folded header line"));
        }
        let colon = line
            .iter()
            .position(|b| *b == b':')
            .ok_or(bad("a header line without a colon"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return Err(bad("a header name with characters that no name has"));
        }
        if value.iter().any(|b| *b == 0x7f || *b < 0x20 && *b != b'\t') {
            return Err(bad("a control character in a header"));
        }
        if name.eq_ignore_ascii_case(b"host") {
            if self.host.replace(value).is_some() {
                return Err(bad("more than one Host header"));
            }
            if value.is_empty() || !value.iter().all(|b| is_host(*b)) {
                return Err(bad("the Host header is no host name"));
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.replace(parse_length(value)?).is_some() {
                return Err(bad("more than one Content-Length"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused {
                    status: 501,
                    reason: "the only transfer coding understood is `chunked`, once",
                });
            }
            if std::mem::replace(&mut self.chunked, true) {
                return Err(bad("more than one Transfer-Encoding"));
            }
        }
        Ok(())
    }
}

fn parse_length(value: &[u8]) -> Result<u64, Refused> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(bad("Content-Length is no number"))
}

const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

const fn is_host(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
}

/// Follows a chunked body to its end, byte by byte in runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// In a size line; the digits so far and their value.
    Size {
        digits: u8,
        value: u64,
        line: u16,
        extension: bool,
        carriage: bool,
    },
    Data(u64),
    /// After a chunk: CR, then LF.
    DataEnd {
        carriage: bool,
    },
    /// In the trailer: length of the line so far, and of the whole trailer.
    Trailer {
        line: u16,
        total: u16,
        carriage: bool,
    },
    Done,
}

impl Chunked {
    pub const START: Chunked = Chunked::Size {
        digits: 0,
        value: 0,
        line: 0,
        extension: false,
        carriage: false,
    };

    /// Takes bytes; returns how many of them belong to the body.
    ///
    /// # Errors
    /// The framing is malformed.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut used = 0;
        while used < bytes.len() && *self != Chunked::Done {
            if let Chunked::Data(left) = self {
                let run = (bytes.len() - used).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= run as u64;
                used += run;
                if *left == 0 {
                    *self = Chunked::DataEnd { carriage: false };
                }
                continue;
            }
            *self = self.step(bytes[used])?;
            used += 1;
        }
        Ok(used)
    }

    fn step(&self, byte: u8) -> Result<Chunked, Refused> {
        Ok(match (self, byte) {
            (
                Chunked::Size {
                    digits,
                    value,
                    carriage: true,
                    ..
                },
                b'\n',
            ) if *digits > 0 => match value {
                0 => Chunked::Trailer {
                    line: 0,
                    total: 0,
                    carriage: false,
                },
                size => Chunked::Data(*size),
            },
            (
                Chunked::Size {
                    digits,
                    value,
                    line,
                    extension,
                    carriage: false,
                },
                byte,
            ) => size_step(*digits, *value, *line, *extension, byte)?,
            (Chunked::DataEnd { carriage: false }, b'\r') => Chunked::DataEnd { carriage: true },
            (Chunked::DataEnd { carriage: true }, b'\n') => Chunked::START,
            (
                Chunked::Trailer {
                    line,
                    total,
                    carriage: true,
                },
                b'\n',
            ) => match line {
                0 => Chunked::Done,
                _ => Chunked::Trailer {
                    line: 0,
                    total: *total,
                    carriage: false,
                },
            },
            (
                Chunked::Trailer {
                    line,
                    total,
                    carriage: false,
                },
                byte,
            ) if byte != b'\n' && *total < 8192 => Chunked::Trailer {
                line: line + u16::from(byte != b'\r'),
                total: total + 1,
                carriage: byte == b'\r',
            },
            _ => return Err(bad("the chunked body is malformed")),
        })
    }
}

fn size_step(
    digits: u8,
    value: u64,
    line: u16,
    extension: bool,
    byte: u8,
) -> Result<Chunked, Refused> {
    let size = |digits, value, extension, carriage| Chunked::Size {
        digits,
        value,
        line: line + 1,
        extension,
        carriage,
    };
    match byte {
        _ if line >= 1024 => Err(bad("a chunk size line is longer than 1 KiB")),
        b'\r' if digits > 0 => Ok(size(digits, value, extension, true)),
        b'\n' | b'\r' => Err(bad("a chunk size line is malformed")),
        _ if extension => Ok(size(digits, value, true, false)),
        b';' if digits > 0 => Ok(size(digits, value, true, false)),
        byte => {
            let digit = (byte as char)
                .to_digit(16)
                .filter(|_| digits < 15)
                .ok_or(bad("a chunk size is no hexadecimal number"))?;
            Ok(size(
                digits + 1,
                value * 16 + u64::from(digit),
                false,
                false,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str) -> Result<Framing, Refused> {
        inspect(head.replace('\n', "\r\n").as_bytes())
    }

    fn refused(head: &str) -> (u16, &'static str) {
        let refused = check(head).unwrap_err();
        (refused.status, refused.reason)
    }

    #[test]
    fn ordinary_requests_pass() {
        let get = check("GET / HTTP/1.1\nHost: a.example\nAccept: */*\n\n");
        assert_eq!(get, Ok(Framing::Length(0)));
        let post = check("POST /x?y HTTP/1.1\nhost:a\nContent-Length: 12\n\n");
        assert_eq!(post, Ok(Framing::Length(12)));
        let chunked = check("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\n\n");
        assert_eq!(chunked, Ok(Framing::Chunked));
        let absolute = check("GET http://A.example:80/x HTTP/1.1\nHost: a.example:80\n\n");
        assert_eq!(absolute, Ok(Framing::Length(0)));
        assert_eq!(
            check("OPTIONS * HTTP/1.1\nHost: a\n\n"),
            Ok(Framing::Length(0))
        );
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for (head, reason) in [
            (
                "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
                "Content-Length beside Transfer-Encoding",
            ),
            (
                "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
                "more than one Transfer-Encoding",
            ),
            (
                "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 1\n\n",
                "more than one Content-Length",
            ),
            (
                "POST / HTTP/1.1\nHost: a\nContent-Length: +1\n\n",
                "Content-Length is no number",
            ),
            ("GET / HTTP/1.1\n\n", "the Host header is missing"),
            (
                "GET / HTTP/1.1\nHost: a\nHost: b\n\n",
                "more than one Host header",
            ),
            (
                "GET http://b/ HTTP/1.1\nHost: a\n\n",
                "the request target contradicts Host",
            ),
            (
                "GET / HTTP/1.1\nHost: a\nX: 1\n folded\n\n",
                "a folded header line",
            ),
            (
                "GET / HTTP/1.1\nHost : a\n\n",
                "a header name with characters that no name has",
            ),
            (
                "GET  / HTTP/1.1\nHost: a\n\n",
                "the request line is not a method, a target and a version",
            ),
            (
                "GET a HTTP/1.1\nHost: a\n\n",
                "the request target is neither a path nor a URL",
            ),
            (
                "GET / HTTP/1.1\nHost: a@b\n\n",
                "the Host header is no host name",
            ),
            (
                "POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n",
                "Transfer-Encoding in an HTTP/1.0 request",
            ),
        ] {
            assert_eq!(refused(head), (400, reason), "{head}");
        }
        assert_eq!(refused("GET / HTTP/2.0\nHost: a\n\n").0, 505);
        let gzip = "GET / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n";
        assert_eq!(refused(gzip).0, 501);
        let many = format!("GET / HTTP/1.1\nHost: a\n{}\n", "X: y\n".repeat(128));
        assert_eq!(refused(&many).0, 431);
    }

    #[test]
    fn bare_line_feeds_and_endless_heads_are_refused() {
        assert_eq!(
            head_length(b"GET / HTTP/1.1\nHost: a\n\n", 0).map_err(|r| r.reason),
            Err("a line ends in a bare line feed")
        );
        assert_eq!(head_length(b"GET / HTTP/1.1\r\nHost", 0), Ok(None));
        assert_eq!(head_length(b"A\r\n\r\nrest", 0), Ok(Some(5)));
        let endless = vec![b'a'; HEAD_BYTES_MAX];
        assert_eq!(head_length(&endless, 0).map_err(|r| r.status), Err(431));
        assert_eq!(
            inspect(b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n").map_err(|r| r.reason),
            Err("a bare carriage return")
        );
    }

    fn chunked(body: &str) -> Result<(usize, bool), &'static str> {
        let body = body.replace('\n', "\r\n");
        let mut whole = Chunked::START;
        let used = whole.advance(body.as_bytes()).map_err(|r| r.reason)?;
        let mut bytewise = Chunked::START;
        let mut total = 0;
        for byte in body.as_bytes() {
            total += bytewise.advance(&[*byte]).map_err(|r| r.reason)?;
        }
        assert_eq!((&whole, used), (&bytewise, total), "however it is cut");
        Ok((used, whole == Chunked::Done))
    }

    #[test]
    fn a_chunked_body_ends_where_its_framing_says() {
        assert_eq!(chunked("3\nabc\n0\n\nGET /"), Ok((13, true)));
        assert_eq!(chunked("0\nTrailer: x\n\n"), Ok((17, true)));
        assert_eq!(chunked("3;name=value\nabc\n"), Ok((19, false)));
        for malformed in ["\n", "x\n", "3\nabcd\n", "1234567890abcdef\n", ";\n"] {
            assert!(chunked(malformed).is_err(), "{malformed:?}");
        }
        let mut bare = Chunked::START;
        assert!(bare.advance(b"3\nabc").is_err());
    }
}
