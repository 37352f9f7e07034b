//! What the tests of real processes run: an app, and a platform to be killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;

use tidegate_drivers::{Options, ProcessDriver};
use tidegate_kernel::DriverCommand;
use tidegate_protocol::{Bytes, InstanceRef, VersionSpec};

const USAGE: &str = "usage: serve | platform DATA_DIR COMMAND…";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("serve") => serve(),
        Some("platform") => {
            let data_dir = PathBuf::from(words.next().ok_or(USAGE)?);
            platform(data_dir, words.collect())
        }
        _ => Err(USAGE.into()),
    }
}

/// An HTTP server on `$HOST:$PORT`: `/health` is well, everything else is not found.
fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let ip: IpAddr = std::env::var("HOST")?.parse()?;
    let port: u16 = std::env::var("PORT")?.parse()?;
    let listener = TcpListener::bind((ip, port))?;
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut request = String::new();
        // A connect without a request is a health check, too.
        if BufReader::new(&stream).read_line(&mut request)? == 0 {
            continue;
        }
        let status = if request.starts_with("GET /health ") {
            "200 OK"
        } else {
            "404 Not Found"
        };
        // The other side may have seen enough.
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    }
    Ok(())
}

/// A platform that starts one instance, says so, and then does nothing until it is killed.
#[tokio::main(flavor = "current_thread")]
async fn platform(
    data_dir: PathBuf,
    command: Vec<String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let options = Options::default();
    let (driver, mut reports) = ProcessDriver::open(&data_dir, ip, |_, _| Ok(()), options).await?;
    let spec = VersionSpec {
        artifact: Bytes::from_static(&[0; 32]),
        command,
        ..VersionSpec::default()
    };
    driver.command(DriverCommand::Start {
        instance: InstanceRef {
            version: 3,
            slot: 0,
            epoch: 7,
        },
        spec: Box::new(spec),
    })?;
    while let Some(report) = reports.recv().await {
        println!("{report:?}");
    }
    Ok(())
}
