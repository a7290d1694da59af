package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetryUntilSomebodyAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		silent := func(answer int, err error) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				if attempts++; attempts < 3 {
					<-ctx.Done()
					return 0, ctx.Err()
				}
				return answer, err
			}
		}
		if v, err := Retry(t.Context(), silent(7, nil)); v != 7 || err != nil || attempts != 3 {
			t.Errorf("got %d, %v after %d attempts", v, err, attempts)
		}
		attempts = 0
		gone := errors.New("gone")
		if _, err := Retry(t.Context(), silent(0, gone)); !errors.Is(err, gone) || attempts != 3 {
			t.Errorf("got %v after %d attempts", err, attempts)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		attempts = -10
		if _, err := Retry(ctx, silent(0, nil)); !errors.Is(err, context.DeadlineExceeded) || attempts != -9 {
			t.Errorf("got %v after %d attempts", err, attempts+10)
		}
	})
}
