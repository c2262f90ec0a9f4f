//! Serves the shelf. Settings: `SHELF_ADDR` (0.0.0.0:8080) and `SHELF_DB` (sqlite:shelf.db).

use std::error::Error;

use shelf_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => serve().await,
        Some("--version") => {
            println!("shelf {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Some(other) => Err(format!("unknown argument {other}; there is only --version").into()),
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let store = Store::open(&setting("SHELF_DB", "sqlite:shelf.db")).await?;
    let listener = TcpListener::bind(setting("SHELF_ADDR", "0.0.0.0:8080")).await?;
    println!("shelf {} listens on {}", env!("CARGO_PKG_VERSION"), listener.local_addr()?);
    axum::serve(listener, shelf_web::router(store)).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

/// Ends when a container runtime or a terminal asks to stop. As process 1 nobody else would handle these signals.
async fn stopped() {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler for SIGTERM");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a handler for SIGINT");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
