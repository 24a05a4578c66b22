type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

/** `typeIs<number>()(value)` compiles only when the value's type is number: no wider, no narrower. */
export function typeIs<Expected> () {
  return <Actual>(_value: Actual, ..._differs: Equal<Actual, Expected> extends true ? [] : ['is of another type']) => {}
}

/** Whether a function may be called with these arguments. */
export type Takes<F extends (...values: never[]) => unknown, A> = A extends Parameters<F> ? true : false
