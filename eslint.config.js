import neostandard from 'neostandard'

export default [
  { ignores: ['**/dist/**', '.tap/**', '.run/**', '.cache/**', '**/playwright-report/**'] },
  ...neostandard({ ts: true }),
  {
    files: ['**/*.ts'],
    rules: { '@typescript-eslint/consistent-type-imports': 'error' }
  }
]
