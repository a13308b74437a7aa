"""Small made-up files in the form of the public ones."""

import json

CITIBIKE_COLUMNS = (
    "ride_id,rideable_type,started_at,ended_at,start_station_name,start_station_id,"
    "end_station_name,end_station_id,start_lat,start_lng,end_lat,end_lng,member_casual"
)
STEPS_COLUMNS = "Id,ActivityDate,TotalSteps,TotalDistance,TrackerDistance,Calories"

FORMER_CITIBIKE = """\
tripduration,starttime,stoptime,start station id,start station name,start station latitude,\
start station longitude,end station id,end station name,end station latitude,\
end station longitude,bikeid,usertype,birth year,gender
300,2019-02-01 00:00:00.1230,2019-02-01 00:05:00.2340,1,A,40.72,-74.04,2,B,40.73,-74.05,\
99,Subscriber,1980,1
420,2019-02-01 07:00:00.0000,2019-02-01 07:07:00.0000,1,A,40.72,-74.04,NULL,NULL,NULL,NULL,\
98,Customer,NULL,0
"""
"""Two trips as Citi Bike told them before 2021; one bike was never given back."""


def mds_trip(number, began, **changes):
    """A trip of MDS: ten minutes and 2.1 km. `began` is in seconds since 1970."""
    return {
        "provider_id": "c20e08cf-8488-46a6-a66c-5d8fb827f7e0",
        "device_id": "11111111-1111-4111-8111-111111111111",
        "trip_id": f"22222222-2222-4222-8222-{number:012d}",
        "duration": 600,
        "distance": 2100,
        "start_time": 1000 * began,
        "end_time": 1000 * (began + 600),
        "start_location": {"lat": 40.72, "lng": -74.04},
        "end_location": {"lat": 40.73, "lng": -74.05},
    } | changes


def write_mds(path, *trips):
    """The file of these trips."""
    path.write_text(json.dumps({"version": "2.0.0", "trips": trips}))
    return path


def ride(
    ride_id,
    started_at,
    ended_at,
    *,
    station="JC1",
    start=("40.735208", "-74.046964"),
    end=("40.714584", "-74.042817"),
):
    """A row of Citi Bike's system data; without an end when it is ("", "")."""
    return (
        f'{ride_id},docked_bike,{started_at},{ended_at},"Grove, at Wayne",{station},'
        f"There,JC2,{start[0]},{start[1]},{end[0]},{end[1]},member"
    )


def steps(person, day, number, distance="1.50"):
    """A row of Fitabase's daily activity."""
    return f"{person},{day},{number},{distance},{distance},1800.00"


def write_csv(path, columns, rows):
    """The file with its rows, as such files come: with a byte order mark and CRLF."""
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([columns, *rows, ""]).encode())
    return path
