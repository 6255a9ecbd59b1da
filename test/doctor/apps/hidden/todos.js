export const todos = []
