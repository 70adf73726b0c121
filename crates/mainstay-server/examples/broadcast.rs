//! Events for whoever listens: `cargo run --example broadcast -- 127.0.0.1:8080`, then
//! `mainstay client --channel clock` hears the time, and `mainstay client shout` is heard by all.

use std::time::{Duration, Instant};

use mainstay_server::{Request, Router, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("localhost:8080".to_owned());
    let router = Router::new().handler("shout", |request: Request| async move {
        request.hub.broadcast("somebody shouted", &request.payload)?;
        Ok("everybody heard".to_owned())
    });
    let server = Server::builder().address(address).router(router).start().await?;
    let began = Instant::now();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = second.tick() => {
                server.hub().publish("clock", &format!("{} s", began.elapsed().as_secs()))?;
            }
            stop = tokio::signal::ctrl_c() => break stop?,
        }
    }
    Ok(server.drain().await?)
}
