"""A Python program asks the sidecar through OpenFeature's own SDK and OFREP provider.

    pip install -r requirements.txt
    python client.py
"""

import os

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

url = os.environ.get("SIDECAR_URL", "http://localhost:8080")
# Beyond loopback, where the sidecar wants a token: headers_factory=lambda: {"Authorization": f"Bearer {token}"}.
api.set_provider(OFREPProvider(url))
client = api.get_client()

alice = EvaluationContext("alice", {"groups": ["beta_testers"]})
paying = EvaluationContext("bob", {"plan": "pro", "account_age_days": 31})

beta = client.get_boolean_details("beta_features", False, alice)
print("beta_features for alice:", beta.value, beta.reason, beta.flag_metadata.get("cause"))

analytics = client.get_boolean_details("premium_analytics", False, paying)
print("premium_analytics for bob:", analytics.value, analytics.reason, analytics.flag_metadata.get("cause"))

page = client.get_string_details("pricing_page_experiment", "control", alice)
print("pricing_page_experiment for alice:", page.value, page.reason)

# A flag that nobody made, and one of another type: the default, and why.
missing = client.get_boolean_details("nobody_made_this", False, alice)
print("nobody_made_this:", missing.value, missing.reason, missing.error_code)
wrong = client.get_string_details("beta_features", "none", alice)
print("beta_features as a text:", wrong.value, wrong.reason, wrong.error_code)
