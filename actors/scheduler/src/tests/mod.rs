//! The scheduler as a specification: what each situation makes it do.

mod admission;
mod bench;
mod claims;
mod corners;
mod election;
mod failure;
mod reclaim;
mod sleep;
mod storm;
mod turnover;
mod words;
