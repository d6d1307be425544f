//! Everything about a person, as one JSON document, written piece by piece.
//!
//! Read in one snapshot, so that the parts agree. On a device that several people used, only the person's
//! own stretches are told.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;

use super::{Person, Rights, RightsError, find_person, queue};
use crate::store::{
    StoreError,
    span::{self, Kept, Row, Span},
};

/// The document's form; raised when a member changes its meaning.
const FORMAT: &str = "customer-journey.person/1";

/// Pieces that wait for a slow reader before the database has to wait, too. A piece of 500 events has about
/// 500 KB.
const PIECES_WAITING: usize = 4;

/// Why a document ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the document was not completed")]
    Rights(#[source] RightsError),
    /// The reader went away.
    #[error("nobody reads the document any more")]
    Abandoned,
}

impl<E: Into<RightsError>> From<E> for ExportError {
    fn from(error: E) -> Self {
        Self::Rights(error.into())
    }
}

/// The document's pieces, in order; after an error nothing follows.
pub type Chunks = mpsc::Receiver<Result<Bytes, ExportError>>;

impl Rights {
    /// Starts to write everything about a person.
    ///
    /// # Errors
    /// [`RightsError`] when the person cannot be found; what fails later is the last piece.
    pub async fn export(&self, reference: &str) -> Result<Chunks, RightsError> {
        let step = "store.export";
        let mut connection = self.pool.acquire().await.map_err(StoreError::during(step))?;
        find_person(&mut connection, &self.hasher, reference).await?;
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        let (rights, reference) = (self.clone(), reference.to_owned());
        tokio::spawn(async move {
            if let Err(error) = rights.write(&mut connection, &reference, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(receiver)
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        reference: &str,
        sender: &mpsc::Sender<Result<Bytes, ExportError>>,
    ) -> Result<(), ExportError> {
        let step = "store.export";
        let mut transaction = connection
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(StoreError::during(step))?;
        let person = find_person(&mut transaction, &self.hasher, reference).await?;
        let mut document = Document {
            sender,
            text: String::new(),
        };
        let head = json!({ "customer_id": person.customer_id, "user_id": person.user_id });
        let _ = write!(
            document.text,
            "{{\"format\":\"{FORMAT}\",\"exported_at\":{},\"person\":{head}",
            json!(self.clock.now())
        );
        self.write_store(&mut transaction, &person, &mut document).await?;
        self.write_queue(&mut transaction, &person, &mut document).await?;
        document.text.push_str("}\n");
        document.send().await
    }

    async fn write_store(
        &self,
        connection: &mut PgConnection,
        person: &Person,
        document: &mut Document<'_>,
    ) -> Result<(), ExportError> {
        let id = person.customer_id;
        let customer = span::rows_of_customer(connection, Kept::Customer, id).await?;
        document.list("customer", &customer).await?;
        let scores = span::rows_of_customer(connection, Kept::Scores, id).await?;
        document.list("scores", &scores).await?;
        document.list("lives", &lives_of(person)).await?;
        let sessions = span::rows_of_customer(connection, Kept::Sessions, id).await?;
        document.list("sessions", &sessions).await?;
        document.open("events");
        for span in person.spans() {
            write_events(connection, span, document).await?;
        }
        document.close();
        document.open("attribute_facts");
        for span in person.spans() {
            document.items(&span::facts(connection, &span).await?).await?;
        }
        document.close();
        let identity: Vec<Row> = match &person.user_id {
            Some(user) => span::identity_of_user(connection, user).await?,
            None => Vec::new(),
        };
        document.list("identity_log", &identity).await
    }

    async fn write_queue(
        &self,
        connection: &mut PgConnection,
        person: &Person,
        document: &mut Document<'_>,
    ) -> Result<(), ExportError> {
        let (mut waiting, mut dead) = (Vec::new(), Vec::new());
        if let Some(queue) = self.queue.as_deref() {
            let owner = queue::Owner::find(connection, Some(queue), person).await?;
            waiting = owner.waiting(queue).await?;
            dead = owner.dead(queue).await?.0;
        }
        document.list("queued_events", &waiting).await?;
        document.list("dead_letter_events", &dead).await
    }
}

async fn write_events(
    connection: &mut PgConnection,
    mut span: Span,
    document: &mut Document<'_>,
) -> Result<(), ExportError> {
    loop {
        let (rows, next) = span::events_page(connection, &span).await?;
        document.items(&rows).await?;
        let Some(next) = next else { return Ok(()) };
        span.from = next;
    }
}

fn lives_of(person: &Person) -> Vec<Value> {
    let life = |life: &span::OwnedLife| {
        json!({
            "device_id": life.device_id, "life": life.life, "started_at": life.started_at,
            "ended_before": life.next_at, "user_id": life.user_id,
        })
    };
    person.lives.iter().map(life).collect()
}

/// The document so far as it is not sent.
struct Document<'a> {
    sender: &'a mpsc::Sender<Result<Bytes, ExportError>>,
    text: String,
}

impl Document<'_> {
    fn open(&mut self, name: &str) {
        let _ = write!(self.text, ",\n\"{name}\":[");
    }

    fn close(&mut self) {
        // The comma after the last item.
        if self.text.ends_with(',') {
            self.text.pop();
        }
        self.text.push(']');
    }

    async fn items(&mut self, items: &[impl Serialize]) -> Result<(), ExportError> {
        for item in items {
            self.text
                .push_str(&serde_json::to_string(item).expect("a row is always JSON"));
            self.text.push(',');
        }
        // The last comma stays behind, for `close` to take away.
        if self.text.len() > 64 * 1024 {
            let comma = self.text.ends_with(',').then(|| self.text.pop()).flatten();
            self.send().await?;
            self.text.extend(comma);
        }
        Ok(())
    }

    async fn list(&mut self, name: &str, items: &[impl Serialize]) -> Result<(), ExportError> {
        self.open(name);
        self.items(items).await?;
        self.close();
        Ok(())
    }

    async fn send(&mut self) -> Result<(), ExportError> {
        let bytes = Bytes::from(std::mem::take(&mut self.text));
        self.sender
            .send(Ok(bytes))
            .await
            .map_err(|_| ExportError::Abandoned)
    }
}
