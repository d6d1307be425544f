-- When a job last succeeded: a later failure must not hide it, or nobody could tell a backup that failed tonight
-- from one that has failed for a month.
ALTER TABLE job_runs ADD COLUMN succeeded_at timestamptz;
UPDATE job_runs SET succeeded_at = finished_at WHERE outcome = 'succeeded';
