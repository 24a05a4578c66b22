// A Go program asks the sidecar through OpenFeature's own SDK and OFREP provider.
//
//	go run .
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"
)

func main() {
	url := os.Getenv("SIDECAR_URL")
	if url == "" {
		url = "http://localhost:8080"
	}
	// Beyond loopback, where the sidecar wants a token: ofrep.WithBearerToken(os.Getenv("FLAGS_TOKEN")).
	if err := openfeature.SetProviderAndWait(ofrep.NewProvider(url)); err != nil {
		log.Fatal(err)
	}
	client := openfeature.NewClient("shop")

	ctx := context.Background()
	alice := openfeature.NewEvaluationContext("alice", map[string]any{"groups": []string{"beta_testers"}})
	paying := openfeature.NewEvaluationContext("bob", map[string]any{"plan": "pro", "account_age_days": 31})

	beta, _ := client.BooleanValueDetails(ctx, "beta_features", false, alice)
	fmt.Println("beta_features for alice:", beta.Value, beta.Reason, beta.FlagMetadata["cause"])

	analytics, _ := client.BooleanValueDetails(ctx, "premium_analytics", false, paying)
	fmt.Println("premium_analytics for bob:", analytics.Value, analytics.Reason, analytics.FlagMetadata["cause"])

	page, _ := client.StringValueDetails(ctx, "pricing_page_experiment", "control", alice)
	fmt.Println("pricing_page_experiment for alice:", page.Value, page.Reason)

	// A flag that nobody made, and one of another type: the default, and why.
	missing, _ := client.BooleanValueDetails(ctx, "nobody_made_this", false, alice)
	fmt.Println("nobody_made_this:", missing.Value, missing.Reason, missing.ErrorCode)
	wrong, _ := client.StringValueDetails(ctx, "beta_features", "none", alice)
	fmt.Println("beta_features as a text:", wrong.Value, wrong.Reason, wrong.ErrorCode)
}
