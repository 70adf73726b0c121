//! A server with one command of its own: `cargo run --example command_server -- 127.0.0.1:8080`,
//! then `mainstay client "greet"`. It stops at Ctrl-C.

use mainstay_server::{Request, Router, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("localhost:8080".to_owned());
    let router = Router::new().handler("greet", |request: Request| async move {
        Ok(format!("hello, connection {}", request.connection))
    });
    let server = Server::builder().address(address).router(router).start().await?;
    tokio::signal::ctrl_c().await?;
    Ok(server.drain().await?)
}
