//! Bytes on the wire that no honest client sends. The service refuses or drops them, and lives.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::support::{App, read_answer};

/// Connections at once, where the system lets a process have enough open files for both of their ends.
const CONNECTIONS: usize = 1000;
/// Connections opened at once: below the 128 that some systems keep waiting.
const AT_ONCE: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_or_dropped() {
    let app = App::start().await;
    let many_headers: String = (0..5000).map(|i| format!("X-Header-{i}: {i}\r\n")).collect();
    let long_header = format!("X-Long: {}\r\n", "a".repeat(2_000_000));
    let long_target = format!("/health?{}", "a=1&".repeat(25_000));
    let giant_target = format!("/health?{}", "a=1&".repeat(300_000));
    for (request, expected) in [
        ("\0\0\0\0\r\n\r\n".to_owned(), vec![400]),
        ("GET\r\n\r\n".to_owned(), vec![400]),
        ("GET /health HTTP/9.9\r\n\r\n".to_owned(), vec![400]),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".to_owned(), vec![400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), vec![]),
        ("GET /a b HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(), vec![400]),
        ("GET /health HTTP/1.1\r\nHost : t\r\n\r\n".to_owned(), vec![400]),
        (
            "GET /health HTTP/1.1\r\nHost: t\r\nX-A: \0\r\n\r\n".to_owned(),
            vec![400],
        ),
        (
            format!("GET /health HTTP/1.1\r\nHost: t\r\n{many_headers}\r\n"),
            vec![431],
        ),
        (
            format!("GET /health HTTP/1.1\r\nHost: t\r\n{long_header}\r\n"),
            vec![431],
        ),
        (
            format!("GET {long_target} HTTP/1.1\r\nHost: t\r\n\r\n"),
            vec![414],
        ),
        (
            format!("GET {giant_target} HTTP/1.1\r\nHost: t\r\n\r\n"),
            vec![431],
        ),
        (
            "POST /api/v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n".to_owned(),
            vec![400],
        ),
        (
            "POST /api/v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
                .to_owned(),
            vec![400],
        ),
        (
            "POST /api/v1/events HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, nonsense\r\n\r\n{}"
                .to_owned(),
            vec![400],
        ),
    ] {
        let answer = app.send(request.as_bytes()).await;
        let shown: String = request.chars().take(80).collect();
        assert_eq!(answer.statuses, expected, "{shown:?}: {}", answer.text);
        app.assert_healthy().await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_but_valid_requests_are_answered() {
    let app = App::start().await;
    let address = app.address;
    for (request, expected) in [
        ("GET /health HTTP/1.0\r\n\r\n".to_owned(), vec![200]),
        (
            "GET /health HTTP/1.0\r\nConnection: close\r\nHost: \r\n\r\n".to_owned(),
            vec![200],
        ),
        (
            format!("GET http://{address}/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            vec![200],
        ),
        (
            "GET http://user:pass@other.example:1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                .to_owned(),
            vec![200],
        ),
        (
            "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            vec![200],
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            vec![200],
        ),
        (
            "CONNECT shop.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            vec![404],
        ),
        (
            "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n\
             HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                .to_owned(),
            vec![200, 404, 200],
        ),
    ] {
        let answer = app.send(request.as_bytes()).await;
        assert_eq!(answer.statuses, expected, "{request:?}: {}", answer.text);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_the_pages_inside_the_program() {
    let app = App::start().await;
    let long = "a".repeat(30_000);
    for (folder, file) in [("/docs", "/"), ("/demo", "/"), ("/sdk", "/versions.json")] {
        assert_eq!(app.get(&format!("{folder}{file}")).await.status(), 200);
        for path in [
            "/%00",
            "/index.html%00",
            "/..",
            "/../../../../etc/passwd",
            "/..%2f..%2f..%2fetc%2fpasswd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%5c..%5cetc%5cpasswd",
            "/%252e%252e%252fetc%252fpasswd",
            "//etc/passwd",
            "/%2fetc%2fpasswd",
            "/file:///etc/passwd",
            "/%c0%ae%c0%ae/etc/passwd",
            "/%ff%fe",
            "/%",
            "/%zz",
            "/\u{7f}",
            "/🏕",
            &format!("/{long}"),
        ] {
            let answer = app.get(&format!("{folder}{path}")).await;
            assert!(
                matches!(answer.status(), 400 | 404),
                "{folder}{path}: {}",
                answer.text
            );
            assert!(!answer.text.contains("root:"), "{folder}{path}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giant_query_is_answered() {
    let app = App::start().await;
    for query in [
        format!("limit={}", "9".repeat(20_000)),
        format!("cursor={}", "a".repeat(60_000)),
        "a=1&".repeat(15_000),
        "%00=%ff&%zz&===&&&[]=1".to_owned(),
    ] {
        let head = format!(
            "GET /api/v1/keys?{query} HTTP/1.1\r\nHost: t\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
            app.secret_key
        );
        let answer = app.send(head.as_bytes()).await;
        let shown: String = query.chars().take(40).collect();
        assert!(
            matches!(answer.status(), 200 | 400 | 422),
            "{shown}: {}",
            answer.text
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_as_announced_takes_nobody_else_along() {
    let app = App::start().await;
    let event = |id: &str| format!(r#"{{"event_type":"click","device_id":"d","event_id":"{id}"}}"#);
    let head = |rest: &str| {
        format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: t\r\nX-API-Key: {}\r\n{rest}\r\n\r\n",
            app.write_key
        )
    };

    // Shorter than announced: the request never ends, and the client goes away.
    let mut short = app.connect().await;
    let request = head("Content-Length: 1000") + &event("short");
    short
        .write_all(request.as_bytes())
        .await
        .expect("the service reads");
    drop(short);

    // Longer than announced: what is left over is no request.
    let first = event("long");
    let request =
        head(&format!("Content-Length: {}", first.len())) + &first + "{\"event_type\": \"smuggled\"}\r\n\r\n";
    let answer = app.send(request.as_bytes()).await;
    assert_eq!(answer.statuses, [202, 400], "{}", answer.text);

    // Chunks, then nonsense where the next one should begin.
    let chunk = event("chunked");
    let request = head("Transfer-Encoding: chunked") + &format!("{:x}\r\n{chunk}\r\nzz\r\n", chunk.len());
    let answer = app.send(request.as_bytes()).await;
    assert_eq!(answer.statuses, [400], "{}", answer.text);

    // Larger than allowed, by its announcement and in fact.
    let answer = app.send(head("Content-Length: 999999999999").as_bytes()).await;
    assert_eq!(answer.statuses, [413], "{}", answer.text);
    let megabytes = vec![b' '; 10 * 1024 * 1024];
    let answer = app.post(&app.write_key, &megabytes).await;
    assert!(matches!(answer.statuses[..], [] | [413]), "{}", answer.text);

    app.wait_for_stored(1).await;
    app.assert_healthy().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_field_name_costs_the_other_events_nothing() {
    let app = App::start().await;
    let deep = "[".repeat(40) + &"]".repeat(40);
    let good = r#"{"event_type":"click","device_id":"d"}"#;
    let bad = format!(r#"{{"event_type":"click","device_id":"d","a\u0000b":{deep}}}"#);
    let answer = app
        .post(&app.write_key, format!("[{good},{bad}]").as_bytes())
        .await;
    assert_eq!(answer.status(), 202, "{}", answer.text);
    app.wait_for_stored(1).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_that_send_little_leave_room_for_others() {
    let app = App::start().await;
    let count = CONNECTIONS.min(open_files_max().saturating_sub(200) / 2);
    let mut waiting = open_many(&app, count).await;
    app.assert_healthy().await;
    // A byte now and then, as an attack would keep its connections.
    for part in ["GET /hea", "lth HT", "TP/1.1\r\nX-Slow: "] {
        for stream in &mut waiting {
            stream
                .write_all(part.as_bytes())
                .await
                .expect("the connection is open");
        }
        app.assert_healthy().await;
    }
    // Half of them go away without a word, one ends its request after all.
    waiting.truncate(count / 2);
    let mut late = waiting.pop().expect("there are some");
    late.write_all(b"1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .await
        .expect("the connection is open");
    assert_eq!(read_answer(&mut late).await.status(), 200);
    // Opened and dropped at once, again and again.
    for _ in 0..3 {
        drop(open_many(&app, count / 2).await);
        sleep(Duration::from_millis(20)).await;
        app.assert_healthy().await;
    }
    // The rest is still open: requests that never end do not keep the queue from being drained.
    app.stop().await;
    drop(waiting);
}

/// Opens connections, no more at once than the system keeps waiting for a process that is busy: of those beyond, it may
/// reset some, whatever the service does.
async fn open_many(app: &App, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let group = AT_ONCE.min(count - open.len());
        open.extend(join_all((0..group).map(|_| app.connect())).await);
        app.assert_healthy().await;
    }
    open
}

/// Open files this process may have (`RLIMIT_NOFILE`, soft), where the system tells.
fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .unwrap_or(1024)
}
