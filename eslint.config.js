import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist', 'dist-bench', '.tap', 'data'] }),
  {
    rules: {
      '@typescript-eslint/no-redeclare': 'off', // a schema and its type share one name
      'no-void': ['error', { allowAsStatement: true }]
    }
  }
]
