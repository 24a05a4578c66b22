// A Java program asks the sidecar through OpenFeature's own SDK and OFREP provider.
//
//   mvn -q compile exec:java
import dev.openfeature.contrib.providers.ofrep.OfrepProvider;
import dev.openfeature.contrib.providers.ofrep.OfrepProviderOptions;
import dev.openfeature.sdk.ImmutableContext;
import dev.openfeature.sdk.OpenFeatureAPI;
import dev.openfeature.sdk.Value;
import java.util.List;
import java.util.Map;

public class Client {
    public static void main(String[] args) {
        var url = System.getenv().getOrDefault("SIDECAR_URL", "http://localhost:8080");
        // Beyond loopback, where the sidecar wants a token:
        // .headers(ImmutableMap.of("Authorization", ImmutableList.of("Bearer " + token))), both from com.google.common.collect.
        var options = OfrepProviderOptions.builder().baseUrl(url).build();
        var api = OpenFeatureAPI.getInstance();
        api.setProviderAndWait(OfrepProvider.constructProvider(options));
        var client = api.getClient();

        var alice = new ImmutableContext("alice", Map.of("groups", new Value(List.of(new Value("beta_testers")))));
        var paying = new ImmutableContext("bob", Map.of("plan", new Value("pro"), "account_age_days", new Value(31)));

        var beta = client.getBooleanDetails("beta_features", false, alice);
        System.out.println("beta_features for alice: " + beta.getValue() + " " + beta.getReason() + " " + beta.getFlagMetadata().getString("cause"));

        var analytics = client.getBooleanDetails("premium_analytics", false, paying);
        System.out.println("premium_analytics for bob: " + analytics.getValue() + " " + analytics.getReason() + " " + analytics.getFlagMetadata().getString("cause"));

        var page = client.getStringDetails("pricing_page_experiment", "control", alice);
        System.out.println("pricing_page_experiment for alice: " + page.getValue() + " " + page.getReason());

        // A flag that nobody made, and one of another type: the default, and why.
        var missing = client.getBooleanDetails("nobody_made_this", false, alice);
        System.out.println("nobody_made_this: " + missing.getValue() + " " + missing.getReason() + " " + missing.getErrorCode());
        var wrong = client.getStringDetails("beta_features", "none", alice);
        System.out.println("beta_features as a text: " + wrong.getValue() + " " + wrong.getReason() + " " + wrong.getErrorCode());

        api.shutdown();
    }
}
