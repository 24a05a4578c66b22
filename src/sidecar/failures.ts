/** What a person typed, or set in the environment, and how to mend it. The process ends with 2. */
export class UsageError extends Error {}

/** Why it cannot start, though its settings are right. The process ends with 1. */
export class StartError extends Error {}
