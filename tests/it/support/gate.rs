//! A way to a server that can be closed and opened, as a network does.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::free_port;

/// Passes connections on to a server while it is open; refuses and cuts them while it is closed.
pub struct Gate {
    target: String,
    address: SocketAddr,
    open: Mutex<Option<Passage>>,
}

struct Passage {
    cut: CancellationToken,
    listening: JoinHandle<()>,
}

impl Gate {
    /// Makes an open gate in front of `host:port`.
    pub async fn open_to(url: &str) -> Arc<Self> {
        let url = url::Url::parse(url).expect("the address of a server is a URL");
        let host = url.host_str().expect("it names a host");
        let port = url.port().expect("it names a port");
        let listener = TcpListener::bind(("127.0.0.1", free_port()))
            .await
            .expect("the port is free");
        let gate = Arc::new(Self {
            target: format!("{host}:{port}"),
            address: listener.local_addr().expect("it is bound"),
            open: Mutex::new(None),
        });
        gate.listen(listener);
        gate
    }

    /// Returns `url` with the gate's address in place of the server's.
    pub fn instead_of(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("the address of a server is a URL");
        url.set_ip_host(self.address.ip()).expect("the URL takes a host");
        url.set_port(Some(self.address.port()))
            .expect("the URL takes a port");
        url.into()
    }

    /// Cuts every connection and refuses new ones.
    pub async fn close(&self) {
        let passage = self.open.lock().expect("nobody panics here").take();
        if let Some(passage) = passage {
            passage.cut.cancel();
            passage.listening.await.expect("the listener ends");
        }
    }

    /// Lets connections through again.
    pub async fn open(&self) {
        let listener = TcpListener::bind(self.address)
            .await
            .expect("the port is still ours");
        self.listen(listener);
    }

    fn listen(&self, listener: TcpListener) {
        let cut = CancellationToken::new();
        let listening = tokio::spawn(accept(listener, self.target.clone(), cut.clone()));
        *self.open.lock().expect("nobody panics here") = Some(Passage { cut, listening });
    }
}

async fn accept(listener: TcpListener, target: String, cut: CancellationToken) {
    while let Some(accepted) = cut.run_until_cancelled(listener.accept()).await {
        let Ok((mut client, _)) = accepted else { continue };
        let (target, cut) = (target.clone(), cut.clone());
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(target).await else {
                return;
            };
            cut.run_until_cancelled(tokio::io::copy_bidirectional(&mut client, &mut server))
                .await;
        });
    }
}
