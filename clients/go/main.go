// Command route asks Rung which model to call: `route 127.0.0.1:50051 "Where is my parcel?"` prints the decision as JSON.
// An example, not a package: the stubs come from proto/ with protoc-gen-go and protoc-gen-go-grpc (scripts/client-deps says
// how), and this file shows the two things that they leave to a caller, a deadline and a fallback.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rungv1 "rung.example/rungv1"
)

// The model to call when Rung does not decide: the strong one.
const fallback = "big-model"

// answer is what Rung decides; without an answer in time, from a server that is away, too busy or broken, an answer that
// names the fallback and has no odds. A refusal (a wrong request, no permission) is an error.
func answer(connection *grpc.ClientConn, text string, deadline time.Duration) (*rungv1.RouteResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	decision, err := rungv1.NewRouterServiceClient(connection).Route(ctx, &rungv1.RouteRequest{
		Input: &rungv1.RouteRequest_Text{Text: text},
	})
	if err == nil || refused(status.Convert(err)) {
		return decision, err
	}
	return &rungv1.RouteResponse{Model: fallback, Tier: rungv1.Tier_TIER_STRONG, Reason: "fallback"}, nil
}

// refused says whether the same again would be refused again. A budget that is spent is: the last thing that its owner
// wants is the strong model.
func refused(failure *status.Status) bool {
	switch failure.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.Canceled, codes.Aborted, codes.DataLoss:
		return false
	case codes.ResourceExhausted:
		for _, detail := range failure.Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Reason == "BUDGET_SPENT" {
				return true
			}
		}
		return false
	}
	return true
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: route ADDRESS TEXT")
		os.Exit(64)
	}
	// Without TLS. From gRPC 1.63 on: grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials())).
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer connection.Close()
	decision, err := answer(connection, os.Args[2], 10*time.Second)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"win_probability": decision.WinProbability,
		"tier":            decision.Tier.String(),
		"model":           decision.Model,
		"reason":          decision.Reason,
	})
}
