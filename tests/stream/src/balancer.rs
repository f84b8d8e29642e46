//! A TCP load balancer: new connections go to the servers in turn, and to none that was killed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

struct Backend {
    address: SocketAddr,
    alive: bool,
    connections: Vec<JoinHandle<()>>,
}

/// The balancer.
pub struct Balancer {
    address: SocketAddr,
    backends: Arc<Mutex<Vec<Backend>>>,
    accepting: JoinHandle<()>,
}

impl Balancer {
    /// Starts one before these servers.
    pub async fn start(addresses: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let backend = |address: &SocketAddr| Backend { address: *address, alive: true, connections: Vec::new() };
        let backends = Arc::new(Mutex::new(addresses.iter().map(backend).collect::<Vec<_>>()));
        let shared = Arc::clone(&backends);
        let accepting = tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((client, _)) = listener.accept().await {
                let mut backends = shared.lock().expect("not poisoned");
                let alive: Vec<usize> = (0..backends.len()).filter(|n| backends[*n].alive).collect();
                let Some(&chosen) = alive.get(turn % alive.len().max(1)) else { continue };
                turn += 1;
                let address = backends[chosen].address;
                backends[chosen].connections.push(tokio::spawn(forward(client, address)));
            }
        });
        Self { address, backends, accepting }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection to a server, and makes no more. Tells how many there were.
    pub fn kill(&self, number: usize) -> usize {
        let mut backends = self.backends.lock().expect("not poisoned");
        let backend = &mut backends[number];
        backend.alive = false;
        let open = backend.connections.iter().filter(|connection| !connection.is_finished()).count();
        backend.connections.drain(..).for_each(|connection| connection.abort());
        open
    }

    /// Connections made to a server so far that are still open.
    pub fn open(&self, number: usize) -> usize {
        let backends = self.backends.lock().expect("not poisoned");
        backends[number].connections.iter().filter(|connection| !connection.is_finished()).count()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(mut client: TcpStream, address: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(address).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
