//! Sends probes from one node to another over loopback, both in this process, and prints how
//! many arrive a second.
//!
//! `cargo run --release -p tidegate-net --example mesh_throughput -- [probes] [payload bytes]`

use std::time::{Duration, Instant};

use tidegate_net::NodeBuilder;
use tidegate_net::mesh::{Membership, MeshConfig, Token};
use tidegate_protocol::{Bytes, Message, Probe, Role};

/// Probes under way at once, well below what a queue holds.
const UNDER_WAY: u64 = 8_192;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (probes, bytes) = (number(1_000_000u64)?, number(100u64)?);

    let listen = "127.0.0.1:0".parse()?;
    let token = Token::new("a-token-for-loopback")?;
    let config = MeshConfig::new("control", listen, token.clone(), Membership::Control);
    let control = NodeBuilder::new("control").mesh(config).start().await?;
    let address = control.mesh().ok_or("no mesh")?.address();
    let join = Membership::Join(address.to_string());
    let config = MeshConfig::new("member", listen, token, join);
    let member = NodeBuilder::new("member").mesh(config).start().await?;

    let (from, to) = (
        member.address(Role::Client, 0),
        control.address(Role::Client, 0),
    );
    let mut inbound = control.router().open(to, UNDER_WAY as usize * 2)?;
    while !member.mesh().is_some_and(|mesh| mesh.is_linked(to.node)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let payload = Bytes::from(vec![7; usize::try_from(bytes)?]);
    let start = Instant::now();
    let (mut sent, mut received) = (0, 0);
    while received < probes {
        while sent < probes && sent - received < UNDER_WAY {
            let probe = Probe {
                sequence: sent,
                payload: payload.clone(),
            };
            member.router().send(from, to, Message::Probe(probe));
            sent += 1;
        }
        inbound.receive().await;
        received += 1;
        while inbound.try_receive().is_some() {
            received += 1;
        }
    }
    let took = start.elapsed();
    let rate = probes as f64 / took.as_secs_f64();
    println!("{probes} probes of {bytes} bytes in {took:?}: {rate:.0} a second");
    member.shutdown().await;
    control.shutdown().await;
    Ok(())
}
