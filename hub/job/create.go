package job

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

const (
	maxID        = 64
	maxCondition = 8192                // characters, as of any query
	maxAhead     = 7 * 24 * time.Hour  // between a job and its start
	maxLimit     = 30 * 24 * time.Hour // of a job, from its start
	defaultLimit = time.Hour
)

// Create takes up a job. What stands in Twin or Method is for the caller to check. It returns
// fault 409104 for an id that is taken, 429004 when there are as many jobs as there may be,
// and 400004 for what is wrong.
func (j *Jobs) Create(ctx context.Context, asked Specification) (Job, error) {
	now := j.Now()
	if err := asked.complete(now); err != nil {
		return Job{}, err
	}
	if _, _, err := j.jobs.Get(ctx, asked.ID); err == nil || store.IsUnreadable(err) {
		return Job{}, alreadyExists(asked.ID)
	} else if !errors.Is(err, store.ErrNotFound) {
		return Job{}, err
	}
	active, err := j.Documents.List(ctx, j.index.Collection, activePrefix, "", j.Limits.Active)
	if err != nil {
		return Job{}, err
	}
	if len(active) >= j.Limits.Active {
		return Job{}, fault.New(fault.TooManyActiveJobs,
			"There are %d jobs that have not ended, which is the limit. Wait until one has, or cancel one", len(active))
	}
	created := Job{Specification: asked, Status: Scheduled, Created: now}
	etags, err := j.Documents.Commit(ctx, j.jobs.Put(created.ID, store.Absent, created),
		j.index.Put(created.activeKey(), store.Always, mark{}))
	if _, conflict := store.IsConflict(err); conflict {
		return Job{}, alreadyExists(asked.ID)
	}
	if err != nil {
		return Job{}, err
	}
	created.etag = etags[0]
	return created, nil
}

func alreadyExists(id string) error {
	return fault.New(fault.JobAlreadyExists, "There is a job %q already. Give this one another id", id)
}

// complete checks what is asked for and fills in what may be left out.
func (s *Specification) complete(now time.Time) error {
	if err := checkID(s.ID); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(s.Condition); n > maxCondition {
		return fault.New(fault.ArgumentInvalid, "queryCondition has %d characters, the limit is %d", n, maxCondition)
	}
	if s.Start.IsZero() || s.Start.Before(now) {
		s.Start = now
	}
	if s.Start.After(now.Add(maxAhead)) {
		return fault.New(fault.ArgumentInvalid, "startTime is %s. A job starts within 7 days",
			s.Start.UTC().Format(time.RFC3339))
	}
	s.Start = s.Start.UTC()
	if most := int64(maxLimit / time.Second); s.Limit < 0 || s.Limit > most {
		return fault.New(fault.ArgumentInvalid, "maxExecutionTimeInSeconds must be 0 to %d, not %d", most, s.Limit)
	}
	if s.Limit == 0 {
		s.Limit = int64(defaultLimit / time.Second)
	}
	return nil
}

// checkID holds an id against the rules of Azure. Capital letters are taken too: samples of
// Azure's SDKs have them.
func checkID(id string) error {
	allowed := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '\''
	}
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return !allowed(r) }) {
		return fault.New(fault.ArgumentInvalid,
			"The job id must have 1 to %d letters, digits, dashes and apostrophes, unlike %.128q", maxID, id)
	}
	return nil
}

// Get returns a job. It returns fault 404002 when there is none.
func (j *Jobs) Get(ctx context.Context, id string) (Job, error) {
	if checkID(id) != nil {
		return Job{}, notFound(id)
	}
	found, etag, err := j.jobs.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Job{}, notFound(id)
	}
	found.etag = etag
	return j.shown(found), err
}

func notFound(id string) error { return fault.New(fault.JobNotFound, "There is no job %.128q", id) }

// shown is a job with the state that it has now.
func (j *Jobs) shown(job Job) Job {
	if job.Status == Scheduled && !j.Now().Before(job.Start) {
		job.Status = Queued
	}
	return job
}

// List returns at most limit jobs, in the order of their ids, and the after of the next call,
// "" at the end. wanted chooses among them; where many are not, it may return fewer, and a next.
func (j *Jobs) List(
	ctx context.Context, after string, limit int, wanted func(Job) bool,
) (found []Job, next string, _ error) {
	found, next = []Job{}, after
	for range listedAtMost {
		stride := limit - len(found)
		entries, err := j.jobs.List(ctx, "", next, stride)
		if err != nil {
			return nil, "", err
		}
		for _, e := range entries {
			if job := j.shown(e.Value); wanted(job) {
				found = append(found, job)
			}
		}
		if len(entries) < stride {
			return found, "", nil
		}
		if next = entries[stride-1].Key; len(found) == limit {
			break
		}
	}
	return found, next, nil
}

// listedAtMost is how often List reads to have what it was asked for.
const listedAtMost = 10

// Devices returns at most limit of what became of identities in a job, or in all when id is
// "", and the after of the next call, "" at the end.
func (j *Jobs) Devices(ctx context.Context, id, after string, limit int) (found []Device, next string, _ error) {
	prefix := ""
	if id != "" {
		prefix = deviceKey(id, "")
	}
	entries, err := j.devices.List(ctx, prefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	found = make([]Device, len(entries))
	for i, e := range entries {
		found[i] = e.Value
		found[i].JobID, found[i].ID, _ = strings.Cut(e.Key, "/")
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return found, next, nil
}

// Key is the after by which Devices goes on behind this one.
func (d Device) Key() string { return deviceKey(d.JobID, d.ID) }

// Cancel ends a job that has not begun, or, with evenRunning, one that has: no other identity
// has its turn, and what came of a call that is under way is not known. It returns the
// faults 404002, and 405102 for a job that can't be cancelled any more.
func (j *Jobs) Cancel(ctx context.Context, id string, evenRunning bool) (Job, error) {
	return store.RetryOnConflict(ctx, func() (Job, error) {
		job, err := j.Get(ctx, id)
		if err != nil {
			return Job{}, err
		}
		if job.Status.HasEnded() || job.Status == Running && !evenRunning {
			return Job{}, fault.New(fault.OperationNotAllowed,
				"The job %q is %s, and only a job that has not begun can be cancelled", id, fault.Word(job.Status))
		}
		began := job.Status == Running
		job.Status, job.Ended = Cancelled, j.Now()
		changes := []store.Change{j.jobs.Put(id, store.IfMatch(job.etag), job)}
		if began { // who carries it out moves it to those that have ended
			changes = append(changes, j.index.Put(job.activeKey(), store.Present, mark{Cancelled: true}))
		} else {
			changes = append(changes, j.prepareEnded(job)...)
		}
		_, err = j.Documents.Commit(ctx, changes...)
		return job, err
	})
}

// The index has a job that has not ended by its start, and one that has by its end.
const (
	activePrefix = "a/"
	endedPrefix  = "e/"
)

func (j Job) activeKey() string { return indexKey(activePrefix, j.Start, j.ID) }

func (j Job) endedKey() string { return indexKey(endedPrefix, j.Ended, j.ID) }

func indexKey(prefix string, at time.Time, id string) string {
	return fmt.Sprintf("%s%016x/%s", prefix, store.UnixNano(at), id)
}

// parseIndexKey returns what is in a key of the index.
func parseIndexKey(key string) (at time.Time, id string) {
	digits, id, _ := strings.Cut(key[len(activePrefix):], "/")
	nanos, _ := strconv.ParseInt(digits, 16, 64) // of indexKey
	return time.Unix(0, nanos).UTC(), id
}

// prepareEnded returns what is to be committed with the end of a job.
func (j *Jobs) prepareEnded(job Job) []store.Change {
	return []store.Change{j.index.Delete(job.activeKey(), store.Always),
		j.index.Put(job.endedKey(), store.Always, mark{})}
}

// deviceKey is where what became of an identity lies. No id of a job has a slash.
func deviceKey(jobID, id string) string { return jobID + "/" + id }
