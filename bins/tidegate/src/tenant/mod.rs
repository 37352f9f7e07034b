//! What tenants do, as a client of the API.

pub(crate) mod change;
pub(crate) mod deploy;
pub(crate) mod logs;
mod project_file;
pub(crate) mod show;
mod table;
