-- Students subscribe to courses: a course has so many seats, a student so many courses. Two rules in one decision, over two things that
-- change independently. After "Course subscriptions" at dcb.events.

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never

CREATE FUNCTION define_course(course text, capacity int) RETURNS bigint LANGUAGE sql AS
$$
	SELECT es_append_if('course-' || course,
		jsonb_build_object('type', 'CourseDefined', 'data', jsonb_build_object('capacity', capacity), 'tags', jsonb_build_array('course:' || course)),
		jsonb_build_array(jsonb_build_object('types', jsonb_build_array('CourseDefined'), 'tags', jsonb_build_array('course:' || course))))
$$;

-- All that the decision depends on: the course, and what the student has subscribed to.
CREATE FUNCTION about(student text, course text) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN jsonb_build_array(
	jsonb_build_object('tags', jsonb_build_array('course:' || course)),
	jsonb_build_object('tags', jsonb_build_array('student:' || student), 'types', jsonb_build_array('StudentSubscribed', 'StudentLeft')));

CREATE FUNCTION subscribe(student text, course text) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	read_to bigint := es_head();
	known   record;
BEGIN
	SELECT max((data ->> 'capacity')::int) FILTER (WHERE type IN ('CourseDefined', 'CapacityChanged')) AS capacity,
		   sum(CASE type WHEN 'StudentSubscribed' THEN 1 WHEN 'StudentLeft' THEN -1 END) FILTER (WHERE 'course:' || course = ANY (tags)) AS taken,
		   sum(CASE type WHEN 'StudentSubscribed' THEN 1 WHEN 'StudentLeft' THEN -1 END) FILTER (WHERE 'student:' || student = ANY (tags)) AS courses,
		   sum(CASE type WHEN 'StudentSubscribed' THEN 1 WHEN 'StudentLeft' THEN -1 END)
			   FILTER (WHERE tags @> ARRAY['course:' || course, 'student:' || student]) AS already
	INTO known FROM es_read_query(about(student, course), 0, NULL);

	IF known.capacity IS NULL THEN
		RAISE EXCEPTION 'there is no course %', course;
	ELSIF known.already > 0 THEN
		RAISE EXCEPTION '% has subscribed to % already', student, course;
	ELSIF known.taken >= known.capacity THEN
		RAISE EXCEPTION 'course % is full', course;
	ELSIF known.courses >= 2 THEN
		RAISE EXCEPTION '% has two courses', student;
	END IF;
	RETURN es_append_if('course-' || course,
		jsonb_build_object('type', 'StudentSubscribed', 'tags', jsonb_build_array('course:' || course, 'student:' || student)),
		about(student, course), read_to);
END
$$;

SELECT define_course('sql', 2), define_course('c', 10), define_course('go', 10);
-- A course of this name is there already: that is a condition, too.
SELECT define_course('sql', 7);
SELECT subscribe('ada', 'sql');
SELECT subscribe('bob', 'sql');
SELECT subscribe('cleo', 'sql');
SELECT subscribe('ada', 'sql');
SELECT subscribe('ada', 'c');
SELECT subscribe('ada', 'go');
SELECT subscribe('ada', 'rust');
SELECT stream, version, type, tags FROM es_read_query('[{"tags": ["student:ada"]}, {"tags": ["course:sql"], "types": ["CourseDefined"]}]');
