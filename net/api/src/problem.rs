//! Answers that are no success.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tidegate_net::NoAnswer;
use tidegate_protocol::{ApiError, ApiReply};

use crate::model::Problem;

/// A status and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    status: StatusCode,
    reason: String,
}

impl Fault {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { status, reason }
    }

    /// A successful reply, or the fault that control names.
    pub(crate) fn check(reply: ApiReply) -> Result<ApiReply, Fault> {
        let status = match reply.error() {
            ApiError::Unspecified => return Ok(reply),
            ApiError::Invalid => StatusCode::BAD_REQUEST,
            ApiError::NotFound => StatusCode::NOT_FOUND,
            ApiError::Conflict => StatusCode::CONFLICT,
            ApiError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Err(Fault::new(status, reply.reason))
    }

    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "an API request failed");
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<NoAnswer> for Fault {
    fn from(error: NoAnswer) -> Self {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let error = match self.status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => "invalid",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::CONFLICT => "conflict",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "internal",
        };
        let problem = Problem {
            error: error.to_owned(),
            reason: self.reason,
        };
        (self.status, Json(problem)).into_response()
    }
}
