//! What the settings of alerts must hold.
//!
//! Whether their secrets are there is asked where messages are sent: commands such as a backup are not given them.

use std::net::IpAddr;

use lettre::message::Mailbox;

use super::Rules;
use crate::config::{BASELINE_WEEKS_MAX, Config, SmtpSecurity};

impl Config {
    pub(super) fn check_alerts(&self, rules: &mut Rules) {
        let alerts = &self.alerts;
        rules.hold(
            (2..=BASELINE_WEEKS_MAX).contains(&alerts.weeks_min),
            "alerts.weeks_min",
            || format!("must be from 2 to {BASELINE_WEEKS_MAX}"),
        );
        for (key, percent) in [
            ("alerts.rate_fall_percent_min", alerts.rate_fall_percent_min),
            ("alerts.traffic_fall_percent_min", alerts.traffic_fall_percent_min),
        ] {
            rules.hold((1..=100).contains(&percent), key, || {
                "must be from 1 to 100".into()
            });
        }
        for (key, number) in [
            ("alerts.error_rise_percent_min", alerts.error_rise_percent_min),
            ("alerts.sessions_min", alerts.sessions_min),
            ("alerts.expected_min", alerts.expected_min),
            ("alerts.false_alarm_days", alerts.false_alarm_days),
            ("alerts.delivery_attempts_max", alerts.delivery_attempts_max),
        ] {
            rules.positive(key, number.into());
        }
        rules.positive("alerts.delivery_timeout_seconds", alerts.delivery_timeout_seconds);
        for (key, address) in [
            ("alerts.slack_webhook_url", &alerts.slack_webhook_url),
            ("alerts.webhook_url", &alerts.webhook_url),
        ] {
            // The address is not repeated: who knows it can post.
            rules.hold(address.is_empty() || is_web_address(address), key, || {
                "must be empty or an address that begins with https:// or http://".into()
            });
        }
        if !alerts.smtp_host.is_empty() {
            self.check_mail(rules);
        }
    }

    fn check_mail(&self, rules: &mut Rules) {
        let alerts = &self.alerts;
        rules.hold(
            (1..=65_535).contains(&alerts.smtp_port),
            "alerts.smtp_port",
            || "must be from 1 to 65535".into(),
        );
        let is_open = alerts.smtp_security == SmtpSecurity::None;
        rules.hold(
            !is_open || is_loopback(&alerts.smtp_host),
            "alerts.smtp_security",
            || "must be starttls or tls, since alerts.smtp_host is not this machine".into(),
        );
        rules.hold(alerts.mail_from.parse::<Mailbox>().is_ok(), "alerts.mail_from", || {
            format!(
                "must be an e-mail address such as journey@shop.example, since alerts.smtp_host is set, but is {:?}",
                alerts.mail_from
            )
        });
        rules.hold(!alerts.mail_to.is_empty(), "alerts.mail_to", || {
            "must name at least one receiver, since alerts.smtp_host is set".into()
        });
        for receiver in &alerts.mail_to {
            rules.hold(receiver.parse::<Mailbox>().is_ok(), "alerts.mail_to", || {
                format!("holds {receiver:?}; each must be an e-mail address such as me@shop.example")
            });
        }
    }
}

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|address| matches!(address.scheme(), "http" | "https") && address.has_host())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
