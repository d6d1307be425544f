//! Alerts: when one is raised, and whom it is told.

use super::keys::{choice, section};

/// Earlier weeks a baseline looks at: enough to know how much weeks differ, few enough to follow the seasons.
pub const BASELINE_WEEKS_MAX: u32 = 8;

choice! {
    /// How the connection to the mail server is protected.
    pub enum SmtpSecurity {
        /// Begin in the clear and change to TLS before anything is said, usually on port 587.
        StartTls = "starttls",
        /// TLS from the first byte, usually on port 465.
        Tls = "tls",
        /// Nothing, for a mail server on this machine only.
        None = "none",
    }
}

section! {
    /// When an alert is raised, and whom it is told. `docs/analysis/alerts.md` has the formulas.
    pub struct Alerts in "alerts" {
        /// Whether the site's figures are judged every hour.
        enabled: bool = true,
        /// Complete earlier weeks needed before anything is claimed, 2 to 8.
        weeks_min: u32 = 3 => "weeks",
        /// Relative fall of a share, such as a funnel step's or the conversion rate, that is worth an alert.
        rate_fall_percent_min: u32 = 20 => "percent",
        /// Relative fall of traffic that is worth an alert.
        traffic_fall_percent_min: u32 = 30 => "percent",
        /// Relative rise of the share of sessions with JavaScript errors that is worth an alert.
        error_rise_percent_min: u32 = 50 => "percent",
        /// Sessions a share must be of, now and in earlier weeks, before anything is claimed about it.
        sessions_min: u32 = 20 => "sessions",
        /// Expected number, such as of sessions or purchases, below which nothing is claimed.
        expected_min: u32 = 10,
        /// Days between two false alarms at least, over all subjects together: the evidence that is asked for.
        false_alarm_days: u32 = 365 => "days",
        /// Time after an alert in which only a graver one about the same subject is raised.
        cool_down_hours: u32 = 6 => "hours",
        /// Attempts to deliver a message before it is given up.
        delivery_attempts_max: u32 = 8 => "attempts",
        /// Time one attempt may take.
        delivery_timeout_seconds: u64 = 10 => "seconds",
        /// Incoming webhook of Slack or of what understands its messages; empty sends none. Secret: see `secrets.slack_webhook_url_file`.
        slack_webhook_url: String = String::new(),
        /// Address that signed JSON messages are posted to; empty sends none. Secret: see `secrets.alert_webhook_url_file`.
        webhook_url: String = String::new(),
        /// Mail server that e-mails go through; empty sends none.
        smtp_host: String = String::new(),
        /// Port of the mail server.
        smtp_port: u32 = 587,
        /// How the connection to the mail server is protected.
        smtp_security: SmtpSecurity = SmtpSecurity::StartTls,
        /// Name to log in to the mail server with; empty logs in with none. Its password: `secrets.smtp_password_file`.
        smtp_user: String = String::new(),
        /// Sender of e-mails, such as `Customer Journey <journey@shop.example>`.
        mail_from: String = String::new(),
        /// Receivers of e-mails.
        mail_to: Vec<String> = Vec::new(),
    }
}
