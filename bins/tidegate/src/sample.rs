//! The app that `dev` deploys: it needs nothing beyond this program.

use std::net::IpAddr;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;

/// Serves on `$HOST:$PORT` until it is ended.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let port: u16 = variable("PORT")
        .parse()
        .context("PORT is not set to a port; `tidegate dev` starts this app")?;
    let host: IpAddr = variable("HOST")
        .parse()
        .unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let instance = variable("TIDEGATE_INSTANCE");
    let greeting = format!("Hello from Tidegate. This is instance {instance}.\n");
    let listener = tokio::net::TcpListener::bind((host, port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    println!("the sample app listens on port {port}");
    let answer = move || {
        let greeting = greeting.clone();
        async move {
            println!("answered a request");
            greeting
        }
    };
    let app = Router::new().route("/", get(answer));
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await
        .context("the sample app's listener broke")
}
