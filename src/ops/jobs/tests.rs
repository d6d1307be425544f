use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::*;

const EVERY_SECOND: &str = "* * * * * *";
const NEVER_HERE: &str = "0 0 0 1 1 *";

fn jobs(pool: &PgPool, jobs: Vec<Job>) -> Jobs {
    Jobs::new(pool.clone(), Clock::system(), CancellationToken::new(), jobs)
}

async fn stop(jobs: &Jobs) {
    jobs.shared.stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(10), jobs.wait_until_stopped()).await;
    stopped.expect("the jobs stop soon");
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "it never came true: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A job that counts its runs under one process.
fn counting(runs: &Arc<AtomicUsize>) -> Job {
    let runs = runs.clone();
    Job::new("counting", EVERY_SECOND, move |_| {
        let runs = runs.clone();
        async move { Ok(format!("run {}", runs.fetch_add(1, Ordering::SeqCst) + 1)) }
    })
}

async fn leaders_backend(pool: &PgPool) -> Vec<i32> {
    let query = "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
                 WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND datname = current_database()";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

#[sqlx::test(migrations = "./migrations")]
async fn one_of_two_processes_leads_and_the_other_takes_over_when_its_connection_dies(pool: PgPool) {
    let runs = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let processes = [
        jobs(&pool, vec![counting(&runs[0])]),
        jobs(&pool, vec![counting(&runs[1])]),
    ];
    processes[0].start().await.unwrap();
    wait_until("the first leads", || processes[0].is_leader()).await;
    processes[1].start().await.unwrap();
    wait_until("the leader runs its job", || runs[0].load(Ordering::SeqCst) >= 2).await;
    assert!(processes[0].is_leader() && !processes[1].is_leader());
    assert_eq!(runs[1].load(Ordering::SeqCst), 0, "the job ran without lead");

    let lead = processes[0].shared.leadership.current().unwrap();
    let backends = leaders_backend(&pool).await;
    assert_eq!(backends.len(), 1);
    let ended: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1)")
        .bind(backends[0])
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(ended);
    wait_until("the other leads", || processes[1].is_leader()).await;
    wait_until("the other runs the job", || runs[1].load(Ordering::SeqCst) >= 1).await;
    wait_until("the first knows", || !processes[0].is_leader()).await;
    assert!(
        lead.is_cancelled(),
        "jobs still running under the first were not told"
    );

    stop(&processes[0]).await;
    assert!(processes[1].is_leader());
    stop(&processes[1]).await;
    let since = Instant::now();
    while !leaders_backend(&pool).await.is_empty() {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "the lock was never given back"
        );
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_run_is_recorded_with_its_outcome(pool: PgPool) {
    let jobs = jobs(
        &pool,
        vec![
            Job::new("good", NEVER_HERE, |_| async { Ok("3 rows removed".into()) }),
            Job::new("bad", NEVER_HERE, |_| async {
                Err(std::io::Error::other("disk full")).context("rows cannot be removed")
            }),
            Job::new("ugly", NEVER_HERE, |_| async { panic!("out of luck") }),
        ],
    );
    assert_eq!(jobs.run_now("good").await.unwrap(), "3 rows removed");
    assert!(matches!(
        jobs.run_now("bad").await,
        Err(JobsError::Failed { job: "bad", .. })
    ));
    assert!(matches!(
        jobs.run_now("ugly").await,
        Err(JobsError::Panicked { job: "ugly", .. })
    ));
    assert!(matches!(jobs.run_now("other").await, Err(JobsError::Unknown(name)) if name == "other"));

    let runs = last_runs(&pool).await.unwrap();
    let runs: Vec<_> = runs
        .iter()
        .map(|run| (run.job.as_str(), run.outcome, run.detail.as_deref()))
        .collect();
    let expected = [
        (
            "bad",
            Some(Outcome::Failed),
            Some("rows cannot be removed: disk full"),
        ),
        ("good", Some(Outcome::Succeeded), Some("3 rows removed")),
        ("ugly", Some(Outcome::Panicked), Some("out of luck")),
    ];
    assert_eq!(runs, expected);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_job_never_overlaps_itself_even_across_processes(pool: PgPool) {
    let release = CancellationToken::new();
    let slow = || {
        let release = release.clone();
        Job::new("slow", NEVER_HERE, move |_| {
            let release = release.clone();
            async move {
                release.cancelled().await;
                Ok("done".into())
            }
        })
    };
    let (first, second) = (jobs(&pool, vec![slow()]), jobs(&pool, vec![slow()]));
    let running = tokio::spawn({
        let first = first.clone();
        async move { first.run_now("slow").await }
    });
    let since = Instant::now();
    while last_runs(&pool).await.unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(20), "the job never started");
    }
    assert!(matches!(
        first.run_now("slow").await,
        Err(JobsError::Running("slow"))
    ));
    assert!(matches!(
        second.run_now("slow").await,
        Err(JobsError::Running("slow"))
    ));
    assert_eq!(last_runs(&pool).await.unwrap()[0].outcome, None);
    release.cancel();
    assert_eq!(running.await.unwrap().unwrap(), "done");
    assert_eq!(second.run_now("slow").await.unwrap(), "done");
}

#[sqlx::test(migrations = "./migrations")]
async fn stopping_tells_the_running_job_and_waits_for_it(pool: PgPool) {
    let patient = Job::new("patient", EVERY_SECOND, |context| async move {
        context.stop.cancelled().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok("stopped between two steps".into())
    });
    let jobs = jobs(&pool, vec![patient]);
    jobs.start().await.unwrap();
    let since = Instant::now();
    while last_runs(&pool).await.unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(20), "the job never started");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop(&jobs).await;
    let runs = last_runs(&pool).await.unwrap();
    assert_eq!(runs[0].detail.as_deref(), Some("stopped between two steps"));
    assert!(!jobs.is_leader());
}

#[sqlx::test(migrations = "./migrations")]
async fn a_schedule_that_is_not_cron_is_refused_with_the_job(pool: PgPool) {
    let wrong = Job::new("wrong", "every day", |_| async { bail!("it never runs") });
    let refused = jobs(&pool, vec![wrong]).start().await;
    assert!(matches!(refused, Err(JobsError::Schedule { job: "wrong", .. })));
}

#[sqlx::test(migrations = "./migrations")]
async fn a_run_that_nobody_waits_for_any_more_still_ends_in_order(pool: PgPool) {
    let release = CancellationToken::new();
    let waiting = release.clone();
    let slow = Job::new("slow", NEVER_HERE, move |_| {
        let release = waiting.clone();
        async move {
            release.cancelled().await;
            Ok("done".into())
        }
    });
    let jobs = jobs(&pool, vec![slow]);
    let since = Instant::now();
    while last_runs(&pool).await.unwrap().is_empty() {
        let _ = tokio::time::timeout(Duration::from_millis(50), jobs.run_now("slow")).await;
        assert!(since.elapsed() < Duration::from_secs(20), "the job never started");
    }
    assert!(matches!(
        jobs.run_now("slow").await,
        Err(JobsError::Running("slow"))
    ));
    release.cancel();
    stop(&jobs).await;
    assert_eq!(
        last_runs(&pool).await.unwrap()[0].outcome,
        Some(Outcome::Succeeded)
    );
}
