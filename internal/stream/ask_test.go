package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAskTriesUntilSomebodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		silent := func(answer int, err error) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				if tries++; tries < 3 {
					<-ctx.Done()
					return 0, ctx.Err()
				}
				return answer, err
			}
		}
		if v, err := Ask(t.Context(), silent(7, nil)); v != 7 || err != nil || tries != 3 {
			t.Errorf("got %d, %v after %d tries", v, err, tries)
		}
		tries = 0
		gone := errors.New("gone")
		if _, err := Ask(t.Context(), silent(0, gone)); !errors.Is(err, gone) || tries != 3 {
			t.Errorf("got %v after %d tries", err, tries)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		tries = -10
		if _, err := Ask(ctx, silent(0, nil)); !errors.Is(err, context.DeadlineExceeded) || tries != -9 {
			t.Errorf("got %v after %d tries", err, tries+10)
		}
	})
}
