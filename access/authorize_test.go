package access

import (
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestAuthorize(t *testing.T) {
	reader, owner := NewPolicy("reader", "Read"), NewPolicy("owner", "Read", "Write")
	policies := []Policy{reader, owner}
	token := func(resource, policy, key string, expiry time.Time) string {
		text, err := credential.NewToken(resource, policy, key, expiry)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	later := noon.Add(time.Hour)
	for _, c := range []struct {
		name, token string
		want        error
	}{
		{"primary key", token("Dps.Local", "owner", owner.PrimaryKey, later), nil},
		{"secondary key", token("dps.local", "owner", owner.SecondaryKey, later), nil},
		{"what is asked", token("dps.local/enrollments", "owner", owner.PrimaryKey, later), nil},
		{"only one below it", token("dps.local/enrollments/x", "owner", owner.PrimaryKey, later),
			fault.UnauthorizedAccess},
		{"late clock", token("dps.local", "owner", owner.PrimaryKey, noon.Add(-credential.ClockSkew)), nil},
		{"no token", "", fault.UnauthorizedAccess},
		{"no right", token("dps.local", "reader", reader.PrimaryKey, later), fault.UnauthorizedAccess},
		{"other service", token("hub.local", "owner", owner.PrimaryKey, later), fault.UnauthorizedAccess},
		{"prefix of the host", token("dps", "owner", owner.PrimaryKey, later), fault.UnauthorizedAccess},
		{"key of another policy", token("dps.local", "owner", reader.PrimaryKey, later), fault.UnauthorizedAccess},
		{"unknown policy", token("dps.local", "nobody", owner.PrimaryKey, later), fault.UnauthorizedAccess},
		{"expired", token("dps.local", "owner", owner.PrimaryKey, noon.Add(-credential.ClockSkew-time.Second)),
			fault.TokenExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := authorize(policies, c.token, credential.ResourceOf("dps.local", "enrollments"), "Write", noon)
			if c.want == nil && err != nil {
				t.Fatalf("refused: %v", err)
			}
			if c.want != nil {
				if code := fault.From(err).Code; error(code) != c.want {
					t.Fatalf("got %v, want %v", err, c.want)
				}
			}
		})
	}
}
