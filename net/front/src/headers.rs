//! Which headers go on, in either direction (RFC 9110 §7.6.1), and what is added.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Set by another region's gateway on a request that hops here.
pub(crate) const HOP: HeaderName = HeaderName::from_static("x-tidegate-hop");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const OWN_PREFIX: &str = "x-tidegate-";

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Removes what speaks of one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        // A client must not make the gateway drop what the app relies on.
        if *name != header::HOST && *name != header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
}

/// Makes a client's headers those of the request to an instance: what a client may not say
/// is removed, and where it came from is told.
pub(crate) fn from_client(headers: &mut HeaderMap, client: IpAddr) {
    strip_hop_by_hop(headers);
    remove_own(headers);
    headers.remove(FORWARDED_FOR);
    if let Ok(value) = HeaderValue::try_from(client.to_string()) {
        headers.insert(FORWARDED_FOR, value);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// Another gateway has told already where the request came from.
pub(crate) fn from_gateway(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    remove_own(headers);
}

fn remove_own(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OWN_PREFIX))
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn what_speaks_of_the_connection_stays_behind() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "close, X-Private, Host, content-length"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("content-length", "3"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["host", "content-length", "accept"]);
    }

    #[test]
    fn a_client_cannot_claim_to_be_somebody_else() {
        let mut headers = map(&[
            ("host", "a"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-tidegate-hop", "guess"),
            ("x-tidegate-anything", "guess"),
        ]);
        from_client(&mut headers, IpAddr::from([192, 0, 2, 7]));
        let expected = map(&[
            ("host", "a"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a"),
        ]);
        assert_eq!(headers, expected);
    }
}
