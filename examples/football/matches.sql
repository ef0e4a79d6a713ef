-- Each match with the form of both teams over their last five matches before it: what could be known on the day.
WITH played AS (
    SELECT "Date" AS day, "HomeTeam" AS team, "FTHG" AS scored, "FTAG" AS conceded, "HST" AS on_target,
           CASE "FTR" WHEN 'H' THEN 3 WHEN 'D' THEN 1 ELSE 0 END AS points
    FROM results
    UNION ALL
    SELECT "Date", "AwayTeam", "FTAG", "FTHG", "AST", CASE "FTR" WHEN 'A' THEN 3 WHEN 'D' THEN 1 ELSE 0 END
    FROM results
),
form AS (
    SELECT day, team,
           count(*) OVER before AS matches,
           avg(points) OVER before AS points,
           avg(scored - conceded) OVER before AS goal_difference,
           avg(on_target) OVER before AS on_target
    FROM played
    WINDOW before AS (PARTITION BY team ORDER BY day ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING)
)
SELECT "Date" AS day, "HomeTeam" AS home_team, "AwayTeam" AS away_team,
       home.points AS home_points, home.goal_difference AS home_goal_difference, home.on_target AS home_on_target,
       away.points AS away_points, away.goal_difference AS away_goal_difference, away.on_target AS away_on_target,
       CASE "FTR" WHEN 'H' THEN 'home' WHEN 'D' THEN 'draw' ELSE 'away' END AS outcome
FROM results
JOIN form AS home ON home.day = "Date" AND home.team = "HomeTeam"
JOIN form AS away ON away.day = "Date" AND away.team = "AwayTeam"
WHERE home.matches = 5 AND away.matches = 5
ORDER BY day, home_team
