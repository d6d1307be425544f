//! Mail over SMTP.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};

use super::{Envelope, SendError};
use crate::config::{Alerts, SmtpSecurity};

/// A mail server with a sender and receivers.
#[derive(Clone)]
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

// The transport holds a password.
impl std::fmt::Debug for Mail {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Mail")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl Mail {
    /// # Errors
    /// When an address of the configuration is none, or TLS cannot be prepared.
    pub fn new(config: &Alerts, password: &str) -> anyhow::Result<Self> {
        let host = config.smtp_host.as_str();
        let tls = match config.smtp_security {
            SmtpSecurity::StartTls => Tls::Required(TlsParameters::new(host.to_owned())?),
            SmtpSecurity::Tls => Tls::Wrapper(TlsParameters::new(host.to_owned())?),
            SmtpSecurity::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(u16::try_from(config.smtp_port)?)
            .tls(tls)
            .timeout(Some(Duration::from_secs(config.delivery_timeout_seconds)));
        if !config.smtp_user.is_empty() {
            transport = transport.credentials(Credentials::new(config.smtp_user.clone(), password.into()));
        }
        let to: Result<Vec<Mailbox>, _> = config.mail_to.iter().map(|receiver| receiver.parse()).collect();
        Ok(Self {
            transport: transport.build(),
            from: config.mail_from.parse()?,
            to: to?,
        })
    }

    pub(super) async fn send(&self, envelope: &Envelope<'_>) -> Result<(), SendError> {
        let message = self
            .message(envelope)
            .map_err(|error| SendError::GiveUp(format!("{:#}", anyhow::Error::from(error))))?;
        self.transport.send(message).await.map_err(|error| {
            let is_permanent = error.is_permanent();
            let text = format!("{:#}", anyhow::Error::from(error));
            if is_permanent {
                SendError::GiveUp(text)
            } else {
                SendError::retry(text)
            }
        })?;
        Ok(())
    }

    fn message(&self, envelope: &Envelope<'_>) -> Result<Message, lettre::error::Error> {
        let notice = envelope.notice;
        // The same id in every attempt: mail programs show a repetition once.
        let id = format!("<{}@{}>", envelope.id, self.from.email.domain());
        let mut message = Message::builder()
            .message_id(Some(id))
            .date(envelope.now.into())
            .from(self.from.clone())
            .subject(&notice.title)
            .header(ContentType::TEXT_PLAIN);
        for receiver in &self.to {
            message = message.to(receiver.clone());
        }
        message.body(notice.text())
    }
}
