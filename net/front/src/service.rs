//! One request, from its head to the head of its answer.

use std::net::SocketAddr;
use std::rc::Rc;

use http::{Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use subtle::ConstantTimeEq;
use tidegate_kernel::{Decision, Outcome, Refusal, RequestHead, Ticket, Time};

use crate::body::{Answer, Bounded, Relayed};
use crate::guard::Guard;
use crate::headers;
use crate::refusal;
use crate::upstream::Failed;
use crate::worker::Worker;

/// Which listener a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Public,
    /// From the gateway of another region, which has to show the token's proof.
    Hop,
}

/// Answers a request. Never fails: what goes wrong becomes one clear error.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    request: Request<Incoming>,
    client: SocketAddr,
    door: Door,
) -> Response<Answer> {
    let hopped = door == Door::Hop;
    if hopped && !shows_proof(&worker, &request) {
        return refusal::plain(
            StatusCode::FORBIDDEN,
            "this port takes requests of other gateways of this installation only",
        );
    }
    let limit = worker.config.request_bytes_max;
    if content_length(&request).is_some_and(|length| length > limit) {
        return refusal::plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the request body is larger than {limit} bytes"),
        );
    }
    let mut name = [0; NAME_BYTES_MAX];
    let Some(host) = host_name(&request, &mut name) else {
        return refusal::answer(&Refusal::UnknownHost);
    };
    let decision = worker.decide(&RequestHead { host, hopped });
    let Some(ticket) = ticket_of(&decision) else {
        return match decision {
            Decision::Refuse(refused) => refusal::answer(&refused),
            _ => refusal::answer(&Refusal::Broken),
        };
    };
    let guard = Guard::new(&worker, ticket);
    let request = prepare(request, client, hopped, limit);
    follow(&worker, decision, guard, request).await
}

/// Carries out one decision after the other, until there is an answer.
async fn follow(
    worker: &Rc<Worker>,
    mut decision: Decision,
    mut guard: Guard,
    mut request: Request<Bounded>,
) -> Response<Answer> {
    loop {
        let (endpoint, deadline) = match decision {
            Decision::Refuse(refused) => return refusal::answer(&refused),
            Decision::Hold { .. } => {
                decision = guard
                    .held()
                    .await
                    .unwrap_or(Decision::Refuse(Refusal::Deadline));
                continue;
            }
            Decision::Static { artifact, .. } => {
                return worker.sites.answer(artifact, &request, guard).await;
            }
            Decision::Forward {
                endpoint, deadline, ..
            } => {
                request.headers_mut().remove(headers::HOP);
                (endpoint, deadline)
            }
            Decision::Hop {
                endpoint, deadline, ..
            } => {
                request
                    .headers_mut()
                    .insert(headers::HOP, worker.config.hop_proof.clone());
                (endpoint, deadline)
            }
        };
        match exchange(worker, endpoint, deadline, request).await {
            Ok(response) => return relay(worker, response, guard),
            Err(Lost::Unsent(again)) => {
                request = *again;
                decision = guard
                    .connect_failed()
                    .unwrap_or(Decision::Refuse(Refusal::Broken));
            }
            Err(Lost::Broken) => {
                guard.end(Outcome::Broken);
                return refusal::answer(&Refusal::Broken);
            }
            Err(Lost::Late) => {
                guard.end(Outcome::TimedOut);
                return refusal::answer(&Refusal::Deadline);
            }
        }
    }
}

enum Lost {
    Unsent(Box<Request<Bounded>>),
    Broken,
    Late,
}

async fn exchange(
    worker: &Worker,
    endpoint: SocketAddr,
    deadline: Time,
    request: Request<Bounded>,
) -> Result<Response<Incoming>, Lost> {
    let left = worker.clock().until(deadline);
    match tokio::time::timeout(left, worker.pool.send(endpoint, request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Failed::Unsent(request))) => Err(Lost::Unsent(request)),
        Ok(Err(Failed::Broken)) => Err(Lost::Broken),
        Err(_) => Err(Lost::Late),
    }
}

fn relay(worker: &Worker, response: Response<Incoming>, guard: Guard) -> Response<Answer> {
    let (mut parts, incoming) = response.into_parts();
    headers::strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    let relayed = Relayed::new(incoming, guard, worker.config.answer_silence_max);
    Response::from_parts(parts, Answer::Relayed(relayed))
}

/// Makes the client's request the one that goes to an instance: origin-form target, one
/// Host, no header of the connection, a bounded body.
fn prepare(
    request: Request<Incoming>,
    client: SocketAddr,
    hopped: bool,
    bytes_max: u64,
) -> Request<Bounded> {
    let (mut parts, incoming) = request.into_parts();
    if hopped {
        headers::from_gateway(&mut parts.headers);
    } else {
        headers::from_client(&mut parts.headers, client.ip());
    }
    if parts.uri.authority().is_some() {
        let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        parts.uri = target.parse().unwrap_or_else(|_| Uri::from_static("/"));
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Request::from_parts(parts, Bounded::new(incoming, bytes_max))
}

fn shows_proof(worker: &Worker, request: &Request<Incoming>) -> bool {
    request.headers().get(headers::HOP).is_some_and(|shown| {
        let proof = worker.config.hop_proof.as_bytes();
        shown.as_bytes().ct_eq(proof).into()
    })
}

fn content_length<B>(request: &Request<B>) -> Option<u64> {
    let value = request.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// RFC 1035 §2.3.4.
const NAME_BYTES_MAX: usize = 253;

/// The host name in lower case, without port and final dot.
fn host_name<'a, B>(request: &Request<B>, name: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a str> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let name = name.get_mut(..host.len())?;
    name.copy_from_slice(host.as_bytes());
    name.make_ascii_lowercase();
    std::str::from_utf8(name).ok()
}

fn ticket_of(decision: &Decision) -> Option<Ticket> {
    match decision {
        Decision::Forward { ticket, .. }
        | Decision::Hold { ticket, .. }
        | Decision::Hop { ticket, .. }
        | Decision::Static { ticket, .. } => Some(*ticket),
        Decision::Refuse(_) => None,
    }
}
