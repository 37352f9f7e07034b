//! What a client gets instead of an answer of the app.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use tidegate_kernel::Refusal;

use crate::body::Answer;
use crate::strict::Refused;

/// The answer to a request that the gateway refused.
pub(crate) fn answer(refusal: &Refusal) -> Response<Answer> {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let response = plain(status, &refusal.text());
    match refusal.retry_after_s() {
        Some(seconds) => retry_after(response, seconds),
        None => response,
    }
}

/// Tells the client when to come again.
pub(crate) fn retry_after(mut response: Response<Answer>, seconds: u64) -> Response<Answer> {
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, seconds.into());
    response
}

/// One line of text under a status.
pub(crate) fn plain(status: StatusCode, reason: &str) -> Response<Answer> {
    let text = format!("{} {}\n", status.as_u16(), reason);
    let mut response = Response::new(Answer::Whole(Some(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The bytes of a refusal that hyper has no part in.
pub(crate) fn raw(refused: Refused) -> String {
    let body = format!("{} {}\n", refused.status, refused.reason);
    let phrase = StatusCode::from_u16(refused.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Bad Request");
    format!(
        "HTTP/1.1 {} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        refused.status,
        body.len(),
    )
}
